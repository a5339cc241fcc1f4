"""German.

Source: the closed classes of Duden's grammar (articles, pronouns, prepositions, conjunctions,
auxiliaries); number words as Duden, "Die Grammatik", gives them. Written for this project.
"""

from __future__ import annotations

from cache.semantic.canonical.languages.language import Language

_ONES = "ein zwei drei vier fünf sechs sieben acht neun".split()
_TENS = "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig".split()
# Not: eins, ein (an article), elf (a creature too).
_NUMBERS = dict(zip(_ONES[1:], range(2, 10), strict=True)) | {
    "null": 0, "zehn": 10, "zwölf": 12, "dreizehn": 13, "vierzehn": 14, "fünfzehn": 15,
    "sechzehn": 16, "siebzehn": 17, "achtzehn": 18, "neunzehn": 19,
}  # fmt: skip
_NUMBERS |= {word: ten for ten, word in zip(range(20, 100, 10), _TENS, strict=True)}
_NUMBERS |= {
    f"{one}und{ten}": value + at
    for value, ten in zip(range(20, 100, 10), _TENS, strict=True)
    for at, one in enumerate(_ONES, start=1)
}

GERMAN = Language(
    "de",
    words="""der die das den dem des ein eine einen einem einer eines kein keine keinen keinem keiner
    ich du er sie es wir ihr mich dich ihn uns euch ihm ihnen mir dir sich mein meine meinen meinem
    meiner dein deine deinen sein seine seinen ihre ihren unser unsere euer eure dieser diese dieses
    diesen diesem jener man und oder aber denn weil dass daß wenn ob als wie was wer wen wem wo wann
    warum wieso weshalb welche welcher welches welchen woher wohin nicht nichts nie niemals auch noch
    nur schon sehr mehr so zu zum zur in im an am auf aus bei beim mit nach von vom vor für über unter
    durch gegen ohne um bis seit ist sind war waren bin bist sei wird werden wurde wurden hat haben
    habe hast hatte hatten kann kannst können könnte könnten muss musst müssen soll sollte sollen
    darf dürfen will willst wollen mag möchte möchten gibt geht mache macht machen hier dort da dann
    bitte danke ja nein""",
    greetings="""
    hallo
    hi
    hey
    guten tag
    guten morgen
    guten abend
    servus
    moin
    bitte
    entschuldigung
    """,
    thanks="""
    bitte
    danke
    danke schön
    danke sehr
    vielen dank
    vielen dank im voraus
    danke im voraus
    """,
    frames="""
    sag mir
    sag mir bitte
    sagen Sie mir
    sagen Sie mir bitte
    eine frage
    meine frage ist
    frage
    """,
    questions="was wer wen wem wo wann warum wieso weshalb wie welche welcher welches welchen woher wohin",
    verb_second="""ist sind war waren wird werden hat haben kann kannst können muss müssen soll sollte
    darf gibt geht macht""",
    naming="heißt heisst bedeutet bedeuten wort sagt sagen sage für und oder welt",
    fresh="""heute jetzt aktuell aktuelle aktuellen aktueller aktuelles derzeit momentan neueste
    neuesten neuester gestern morgen wetter nachrichten preis preise kurs uhrzeit gerade kürzlich
    tabellenstand spielstand""",
    numbers=_NUMBERS,
    contractions={"gibt's": "gibt es", "geht's": "geht es", "ist's": "ist es", "wie's": "wie es"},
    kept_capitals="Sie Ihr Ihre Ihren Ihrem Ihrer Ihnen",
)
