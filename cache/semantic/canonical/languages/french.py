"""French.

Source: the closed classes of Grevisse and Goosse, "Le Bon Usage" (articles, pronouns, prepositions,
conjunctions, auxiliaries), and its number words, in both spellings (1990: with hyphens throughout).
Written for this project.
"""

from __future__ import annotations

from cache.semantic.canonical.languages.language import Language

_TO_NINETEEN = {
    "zéro": 0, "deux": 2, "trois": 3, "quatre": 4, "cinq": 5, "six": 6, "sept": 7, "huit": 8,
    "dix": 10, "onze": 11, "douze": 12, "treize": 13, "quatorze": 14, "quinze": 15, "seize": 16,
    "dix-sept": 17, "dix-huit": 18, "dix-neuf": 19,
}  # fmt: skip
_TENS = {20: "vingt", 30: "trente", 40: "quarante", 50: "cinquante", 60: "soixante"}
_DIGITS = {1: "et un", **{n: w for w, n in _TO_NINETEEN.items() if 1 < n < 10}, 9: "neuf"}
# Not: un (an article), neuf (new) where it stands alone.
_NUMBERS = dict(_TO_NINETEEN)
for _value, _ten in _TENS.items():
    _NUMBERS[_ten] = _value
    for _digit, _word in _DIGITS.items():
        _NUMBERS[f"{_ten} {_word}" if _digit == 1 else f"{_ten}-{_word}"] = _value + _digit
        if _digit == 1:
            _NUMBERS[f"{_ten}-et-un"] = _value + 1
for _digit, _word in enumerate("dix onze douze treize quatorze quinze seize".split(), start=10):
    _joined = f"soixante et {_word}" if _digit == 11 else f"soixante-{_word}"
    _NUMBERS[_joined] = 60 + _digit
    _NUMBERS[f"quatre-vingt-{_word}"] = 80 + _digit
for _digit, _word in ((17, "dix-sept"), (18, "dix-huit"), (19, "dix-neuf")):
    _NUMBERS[f"soixante-{_word}"] = 60 + _digit
    _NUMBERS[f"quatre-vingt-{_word}"] = 80 + _digit
_NUMBERS |= {"quatre-vingts": 80, "quatre-vingt-un": 81, "soixante-et-onze": 71}
for _digit, _word in _DIGITS.items():
    if _digit > 1:
        _NUMBERS[f"quatre-vingt-{_word}"] = 80 + _digit
del _value, _ten, _digit, _word, _joined

FRENCH = Language(
    "fr",
    words="""à le la les un une des du de au aux ce cet cette ces mon ma mes ton ta tes son sa ses notre
    nos votre vos leur leurs je tu il elle on nous vous ils elles me te se lui y en moi toi soi eux
    que qui quoi dont où quand comment pourquoi combien quel quelle quels quelles et ou mais donc or
    ni car si comme parce puisque dans sur sous avec sans pour par chez entre vers avant après depuis
    pendant contre est sont était étaient être suis es sommes êtes sera serait ai as a avons avez ont
    avait avoir peut peux pouvez peuvent puis pouvoir dois doit devez faut fait faire fais veux veut
    voudrais ne pas plus jamais rien aucun aucune personne très aussi bien tout tous toute toutes
    bonjour merci oui non est-ce qu'est-ce c'est j'ai d'un d'une qu'il qu'elle n'est l'on s'il y-a-t-il
    l d j s c n m t qu plaît""",
    greetings="""
    bonjour
    bonsoir
    salut
    coucou
    s'il vous plaît
    s'il te plaît
    svp
    stp
    """,
    thanks="""
    s'il vous plaît
    s'il te plaît
    s'il vous plait
    s'il te plait
    svp
    stp
    merci
    merci beaucoup
    merci d'avance
    merci par avance
    """,
    frames="""
    peux-tu me dire
    pouvez-vous me dire
    pourriez-vous me dire
    pourrais-tu me dire
    est-ce que tu peux me dire
    est-ce que vous pouvez me dire
    tu peux me dire
    vous pouvez me dire
    dis-moi
    dites-moi
    je voudrais savoir
    j'aimerais savoir
    je veux savoir
    sais-tu
    savez-vous
    """,
    questions="comment pourquoi quand où qui quel quelle quels quelles combien qu'est-ce",
    naming="dire mot signifie signifient dit veut traduire pour et ou",
    fresh="""aujourd'hui maintenant actuel actuelle actuels actuelles actuellement dernier dernière
    derniers dernières récent récente récents hier demain météo actualités prix cours heure score
    récemment""",
    numbers=_NUMBERS,
)
