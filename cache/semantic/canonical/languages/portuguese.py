"""Portuguese, of both sides of the ocean.

Source: the closed classes of Cunha and Cintra, "Nova gramática do português contemporâneo"
(articles, pronouns, prepositions, conjunctions, auxiliaries), and its number words in the spelling of
Brazil and of Portugal. Written for this project.
"""

from __future__ import annotations

from cache.semantic.canonical.languages.language import Language

_ONES = "um dois três quatro cinco seis sete oito nove".split()
_TENS = "vinte trinta quarenta cinquenta sessenta setenta oitenta noventa".split()
# Not: um, uma (articles).
_NUMBERS = {word: at for at, word in enumerate(_ONES, start=1) if word != "um"} | {
    "zero": 0, "duas": 2, "dez": 10, "onze": 11, "doze": 12, "treze": 13, "catorze": 14,
    "quatorze": 14, "quinze": 15, "dezesseis": 16, "dezasseis": 16, "dezessete": 17,
    "dezassete": 17, "dezoito": 18, "dezenove": 19, "dezanove": 19,
}  # fmt: skip
_NUMBERS |= {word: ten for ten, word in zip(range(20, 100, 10), _TENS, strict=True)}
_NUMBERS |= {
    f"{ten} e {one}": value + at
    for value, ten in zip(range(20, 100, 10), _TENS, strict=True)
    for at, one in enumerate(_ONES, start=1)
}

PORTUGUESE = Language(
    "pt",
    words="""o a os as um uma uns umas do da dos das no na nos nas ao à aos às pelo pela pelos pelas num
    numa dum duma de em com por para sem sobre entre até desde eu tu ele ela nós vós eles elas você
    vocês me te se lhe lhes meu minha meus minhas teu tua seu sua seus suas nosso nossa este esta isto
    estes estas esse essa isso esses essas aquele aquela aquilo que quê quem qual quais como quando
    onde quanto quanta quantos quantas porque porquê e ou mas pois se nem embora é são era eram ser
    sou és somos foi está estão estou estás estar há tem têm tenho ter havia pode posso podes podem
    poder devo deve devem fazer faz faço quero quer não nunca jamais nada ninguém nenhum nenhuma também
    muito mais menos já todo todos toda todas olá obrigado obrigada favor""",
    greetings="""
    olá
    oi
    bom dia
    boa tarde
    boa noite
    por favor
    desculpe
    desculpa
    """,
    thanks="""
    por favor
    obrigado
    obrigada
    muito obrigado
    muito obrigada
    obrigado desde já
    """,
    frames="""
    pode me dizer
    podes dizer-me
    pode dizer-me
    poderia me dizer
    poderia dizer-me
    você pode me dizer
    você poderia me dizer
    me diga
    diga-me
    diz-me
    me diz
    quero saber
    queria saber
    gostaria de saber
    sabe
    """,
    questions="qual quais como quando onde quem quanto quanta quantos quantas",
    naming="diz dizer significa significam palavra traduz para e ou",
    fresh="""hoje agora atual atuais actual atualmente actualmente último última últimos últimas
    recente recentes ontem amanhã tempo clima notícias preço preços cotação hora placar recentemente""",
    numbers=_NUMBERS,
)
