"""Spanish.

Source: the closed classes of the Real Academia Española's "Nueva gramática de la lengua española"
(articles, pronouns, prepositions, conjunctions, auxiliaries), and its number words. Written for this
project.
"""

from __future__ import annotations

from cache.semantic.canonical.languages.language import Language

_ONES = "dos tres cuatro cinco seis siete ocho nueve".split()
# Not: uno, un (articles), once where it is no number is not Spanish.
_NUMBERS = dict(zip(_ONES, range(2, 10), strict=True)) | {
    "cero": 0, "diez": 10, "once": 11, "doce": 12, "trece": 13, "catorce": 14, "quince": 15,
    "dieciséis": 16, "diecisiete": 17, "dieciocho": 18, "diecinueve": 19, "veinte": 20,
    "veintiuno": 21, "veintiún": 21, "veintiuna": 21, "veintidós": 22, "veintitrés": 23,
    "veinticuatro": 24, "veinticinco": 25, "veintiséis": 26, "veintisiete": 27, "veintiocho": 28,
    "veintinueve": 29,
}  # fmt: skip
_TENS = "treinta cuarenta cincuenta sesenta setenta ochenta noventa".split()
_NUMBERS |= {word: ten for ten, word in zip(range(30, 100, 10), _TENS, strict=True)}
_NUMBERS |= {
    f"{ten} y {one}": value + at
    for value, ten in zip(range(30, 100, 10), _TENS, strict=True)
    for at, one in enumerate(["uno", *_ONES], start=1)
}

SPANISH = Language(
    "es",
    words="""el la los las un una unos unas lo al del de a en con por para sin sobre entre hacia hasta
    desde según yo tú él ella ello nosotros vosotros ellos ellas usted ustedes me te se nos os le les
    mi mis tu tus su sus nuestro nuestra nuestros nuestras este esta esto estos estas ese esa eso esos
    esas aquel aquella que qué quien quién quiénes cual cuál cuáles como cómo cuando cuándo donde dónde
    cuanto cuánto cuánta cuántos cuántas porque y e o u pero sino si ni aunque es son era eran ser soy
    eres somos fue está están estoy estás estar hay ha han he hemos haber había puedo puedes puede
    podemos pueden poder debo debe deben hacer hace hago tengo tiene tienen tener quiero quiere
    quisiera no nunca jamás nada nadie ningún ninguna también muy más menos ya todo todos toda todas
    hola gracias favor""",
    greetings="""
    hola
    buenas
    buenos días
    buenas tardes
    buenas noches
    por favor
    perdón
    disculpa
    disculpe
    """,
    thanks="""
    por favor
    porfa
    gracias
    muchas gracias
    gracias de antemano
    muchas gracias de antemano
    """,
    frames="""
    puedes decirme
    puede decirme
    podrías decirme
    podría decirme
    me puedes decir
    me puede decir
    me podrías decir
    me podría decir
    dime
    dígame
    quiero saber
    quisiera saber
    me gustaría saber
    sabes
    """,
    questions="""qué cuál cuáles cómo cuándo dónde quién quiénes cuánto cuánta cuántos cuántas""",
    naming="dice decir significa significan palabra traduce para y o",
    fresh="""hoy ahora actual actuales actualmente último última últimos últimas reciente recientes
    ayer mañana tiempo clima noticias precio precios cotización hora marcador recientemente""",
    numbers=_NUMBERS,
)
