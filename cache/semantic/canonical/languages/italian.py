"""Italian.

Source: the closed classes of Serianni's "Grammatica italiana" (articles, pronouns, prepositions,
conjunctions, auxiliaries), and its number words. Written for this project.
"""

from __future__ import annotations

from cache.semantic.canonical.languages.language import Language

_ONES = "uno due tre quattro cinque sei sette otto nove".split()
_TENS = "venti trenta quaranta cinquanta sessanta settanta ottanta novanta".split()
# Not: uno, un (articles), sei (you are).
_NUMBERS = {word: at for at, word in enumerate(_ONES, start=1) if word not in {"uno", "sei"}} | {
    "zero": 0, "dieci": 10, "undici": 11, "dodici": 12, "tredici": 13, "quattordici": 14,
    "quindici": 15, "sedici": 16, "diciassette": 17, "diciotto": 18, "diciannove": 19,
}  # fmt: skip
for _value, _ten in zip(range(20, 100, 10), _TENS, strict=True):
    _NUMBERS[_ten] = _value
    for _at, _one in enumerate(_ONES, start=1):
        # The ten loses its vowel before uno and otto; tre takes an accent.
        _stem = _ten[:-1] if _one[0] in "uo" else _ten
        _NUMBERS[_stem + ("tré" if _one == "tre" else _one)] = _value + _at
del _value, _ten, _at, _one, _stem

ITALIAN = Language(
    "it",
    words="""il lo la i gli le un uno una del dello della dei degli delle al allo alla ai agli alle dal
    dallo dalla dai dagli dalle nel nello nella nei negli nelle sul sullo sulla sui sugli sulle di a da
    in con su per tra fra io tu lui lei noi voi loro mi ti si ci vi me te se mio mia miei mie tuo tua
    tuoi suo sua suoi sue nostro nostra vostro questo questa questi queste quello quella quelli quelle
    che chi cui cosa quale quali qual come quando dove quanto quanta quanti quante perché e ed o ma se
    anche però è sono era erano essere sei siamo siete fu ho hai ha abbiamo avete hanno avere aveva
    può puoi posso possono potere devo deve devono fare fa faccio voglio vuole vorrei non mai niente
    nulla nessuno nessuna molto più meno già tutto tutti tutta tutte c'è cos'è qual'è dov'è com'è l'
    un' d' dell' all' nell' ciao grazie favore""",
    greetings="""
    ciao
    salve
    buongiorno
    buonasera
    buon giorno
    buona sera
    per favore
    per piacere
    scusa
    scusi
    """,
    thanks="""
    per favore
    per piacere
    grazie
    grazie mille
    molte grazie
    grazie in anticipo
    """,
    frames="""
    puoi dirmi
    può dirmi
    potresti dirmi
    potrebbe dirmi
    mi puoi dire
    mi può dire
    mi potresti dire
    mi sai dire
    sai dirmi
    dimmi
    mi dica
    vorrei sapere
    voglio sapere
    sai
    """,
    questions="cosa quale quali qual come quando dove chi quanto quanta quanti quante perché cos'è dov'è",
    naming="dice dire significa significano parola traduce per e o",
    fresh="""oggi adesso ora attuale attuali attualmente ultimo ultima ultimi ultime recente recenti
    ieri domani meteo tempo notizie prezzo prezzi quotazione punteggio recentemente""",
    numbers=_NUMBERS,
)
