"""One word for several: contractions, spellings, plurals and a few true synonyms.

Two words stand in one row only where every sentence that is natural with both means the same with
both: ``photo`` and ``picture`` do, ``gas`` and ``petrol`` do not (gas is also a state of matter).
A word that stands nowhere here is kept as it is written, in small letters.
"""

from __future__ import annotations

from functools import lru_cache

from cache.semantic.canonical.numbers import NUMBER_WORDS
from cache.semantic.canonical.plurals import singular
from cache.semantic.canonical.words import rows

CONTRACTIONS: dict[str, tuple[str, ...]] = {
    "can't": ("can", "not"),
    "cannot": ("can", "not"),
    "won't": ("will", "not"),
    "shan't": ("shall", "not"),
    "ain't": ("ain't",),
    "let's": ("let", "us"),
    "y'all": ("you", "all"),
    "i'm": ("i", "am"),
    "im": ("i", "am"),
    "ive": ("i", "have"),
    "wanna": ("want", "to"),
    "gonna": ("going", "to"),
    "gotta": ("got", "to"),
    "gimme": ("give", "me"),
    "pls": ("please",),
    "plz": ("please",),
    "thx": ("thanks",),
}
for _word in (
    "is are was were do does did has have had would could should must might need ca wo"
).split():
    CONTRACTIONS.setdefault(_word + "n't", (_word, "not"))
for _word in "isnt arent wasnt werent dont doesnt didnt hasnt havent hadnt wouldnt couldnt".split():
    CONTRACTIONS[_word] = (_word[:-2], "not")
CONTRACTIONS["shouldnt"] = ("should", "not")
CONTRACTIONS["cant"] = ("can", "not")
for _word in "what who where when why how that there here it he she".split():
    CONTRACTIONS[_word + "'s"] = (_word, "is")
for _word in "what where who how".split():
    CONTRACTIONS[_word + "s"] = (_word, "is")
for _word in "what who where how why they we you there these those".split():
    CONTRACTIONS[_word + "'re"] = (_word, "are")
for _word in "what who where how i you he she it we they there that this".split():
    CONTRACTIONS[_word + "'ll"] = (_word, "will")
for _word in "i you we they could would should must might who what".split():
    CONTRACTIONS[_word + "'ve"] = (_word, "have")
del _word


SYNONYMS = rows(
    """
    photo photograph picture pic
    big large
    start begin commence
    started began commenced
    buy purchase
    bought purchased
    buying purchasing
    movie film
    car automobile
    television tv telly
    phone telephone
    email e-mail
    couch sofa
    kid child
    mother mom mum mommy mummy
    father dad daddy
    doctor physician
    lawyer attorney
    taxi cab taxicab
    repair fix
    happen occur
    happened occurred
    get obtain
    select choose
    quickly rapidly
    expensive costly
    cheap inexpensive
    rich wealthy
    famous well-known
    scared frightened
    website web-site
    wifi wi-fi
    online on-line
    nonprofit non-profit
    ok okay
    refrigerator fridge
    gym gymnasium
    exam examination
    lab laboratory
    math maths mathematics
    advertisement advert
    airplane aeroplane
    flu influenza
    limo limousine
    approximately roughly
    maybe perhaps
    until till
    toward towards
    among amongst
    while whilst
    info information
    color colour
    favorite favourite
    behavior behaviour
    neighbor neighbour
    neighborhood neighbourhood
    labor labour
    honor honour
    humor humour
    flavor flavour
    harbor harbour
    rumor rumour
    vapor vapour
    tumor tumour
    center centre
    theater theatre
    liter litre
    meter metre
    fiber fibre
    caliber calibre
    gray grey
    license licence
    defense defence
    offense offence
    jewelry jewellery
    aluminum aluminium
    catalog catalogue
    dialog dialogue
    analog analogue
    program programme
    traveling travelling
    traveled travelled
    traveler traveller
    canceled cancelled
    canceling cancelling
    modeling modelling
    labeled labelled
    fueled fuelled
    analyze analyse
    analyzed analysed
    paralyze paralyse
    organize organise
    organized organised
    organization organisation
    realize realise
    realized realised
    recognize recognise
    recognized recognised
    apologize apologise
    summarize summarise
    summarized summarised
    optimize optimise
    optimized optimised
    optimization optimisation
    memorize memorise
    minimize minimise
    maximize maximise
    customize customise
    customized customised
    prioritize prioritise
    specialize specialise
    authorize authorise
    authorized authorised
    authorization authorisation
    initialize initialise
    normalize normalise
    visualize visualise
    sterilize sterilise
    criticize criticise
    emphasize emphasise
    civilization civilisation
    globalization globalisation
    capitalize capitalise
    skeptical sceptical
    mold mould
    plow plough
    pajamas pyjamas
    yogurt yoghurt
    donut doughnut
    whiskey whisky
    percent per-cent
    enroll enrol
    fulfill fulfil
    skillful skilful
    learned learnt
    burned burnt
    dreamed dreamt
    spelled spelt
    """
)


@lru_cache(maxsize=8192)
def fold(word: str) -> tuple[str, ...]:
    """A word in small letters as the words it stands for: "can't" is can and not."""
    whole = CONTRACTIONS.get(word)
    if whole is not None:
        return whole
    if "'" in word:
        if word.endswith("'s"):
            return (*fold(word[:-2]), "'s")
        if word.endswith("'"):
            return (*fold(word[:-1]), "s'")
        return (word,)
    if "-" in word:
        first, _, rest = word.partition("-")
        if first in NUMBER_WORDS:  # twenty-one, two-door
            return (first, *(part for piece in rest.split("-") for part in fold(piece)))
        return (SYNONYMS.get(word, word),)
    single = singular(word)
    return (SYNONYMS.get(single, single),)
