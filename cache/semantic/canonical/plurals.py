"""Plurals by rule, and the words in -s that are none."""

from __future__ import annotations

from cache.semantic.canonical.words import rows

IRREGULAR_PLURALS = rows(
    """
    child children
    person people persons
    mouse mice
    goose geese
    tooth teeth
    knife knives
    wife wives
    wolf wolves
    shelf shelves
    leaf leaves
    loaf loaves
    thief thieves
    calf calves
    potato potatoes
    tomato tomatoes
    hero heroes
    echo echoes
    volcano volcanoes
    mosquito mosquitoes
    shoe shoes
    movie movies
    cookie cookies
    calorie calories
    tie ties
    pie pies
    zombie zombies
    ache aches
    headache headaches
    cache caches
    niche niches
    avalanche avalanches
    menu menus
    selfie selfies
    cactus cacti cactuses
    fungus fungi
    criterion criteria
    phenomenon phenomena
    bus buses busses
    virus viruses
    bonus bonuses
    status statuses
    campus campuses
    gas gases
    house houses
    horse horses
    course courses
    nurse nurses
    purse purses
    case cases
    phase phases
    phrase phrases
    database databases
    purchase purchases
    disease diseases
    expense expenses
    license licenses
    response responses
    house houses
    cause causes
    use uses
    rose roses
    nose noses
    dose doses
    price prices
    """
)

# Words in -s that are no plural, or whose singular means something else (glasses, goods).
NO_PLURAL = frozenset(
    """always perhaps besides across towards afterwards sometimes nowadays overseas upstairs
    downstairs indoors outdoors whereas thus plus minus versus less unless yes this his hers ours
    yours theirs its was has does is as us alas
    news series species means physics mathematics economics politics ethics statistics athletics
    gymnastics linguistics electronics mechanics dynamics genetics robotics analytics logistics
    acoustics aerobics classics basics graphics lyrics
    glasses goods customs arms pants jeans shorts savings earnings contents manners brains damages
    spirits works times states windows thirds fourths fifths sixths sevenths eighths ninths tenths
    halves quarters twenties thirties forties fifties sixties seventies eighties nineties hundreds
    thousands millions billions trillions dozens teens ones twos threes fours
    ashes regards thanks greens looks likes lens gas bus virus status campus bonus focus census
    corpus genus nexus lotus cactus fungus octopus platypus hippopotamus walrus circus citrus
    minus surplus chorus nucleus radius stimulus abacus apparatus consensus sinus cosmos chaos
    ethos pathos rhinoceros asparagus hibiscus crocus mucus locus opus sinus tetanus thesaurus
    uterus venus uranus mars jesus zeus christmas texas kansas arkansas dallas vegas vilnius
    atlas canvas pancreas paris iris pelvis penis tennis basis crisis analysis thesis hypothesis
    emphasis diagnosis prognosis oasis axis synopsis paralysis genesis nemesis arthritis hepatitis
    bronchitis meningitis dermatitis psoriasis tuberculosis sepsis osmosis mitosis meiosis
    photosynthesis synthesis parenthesis metropolis acropolis minneapolis indianapolis annapolis
    memphis louis illinois des moines honduras cyprus laos barbados bahamas wales netherlands
    philippines maldives seychelles athens naples brussels angeles orleans aires hamas isis
    diabetes herpes rabies scabies measles mumps hives shingles headquarters scissors trousers
    tweezers pliers binoculars pajamas pyjamas clothes tights leggings briefs premises proceeds
    remains surroundings belongings congratulations outskirts tropics alps andes himalayas
    starbucks mcdonalds walgreens lowes kohls wendys arbys dunkins levis kelloggs sims beatles
    eagles doors rolling williams adams roberts edwards richards phillips stevens rogers peters
    daniels andrews matthews brooks banks woods jacobs michaels simmons simons jones davis harris
    lewis ellis hayes myers reynolds burns hughes stephens perkins collins hopkins watkins jenkins
    dickens marks parks waters rivers summers winters james charles thomas nicholas douglas
    https saas macos kubernetes postgres rails pandas keras
    sanders gates reyes luis torres flores morales
    marcus julius augustus silas elias lucas jonas tobias matthias travis dennis alexis francis
    chris doris boris carlos marcos santos ross moses miles giles jules hercules achilles socrates
    aristoteles sophocles euripides archimedes los las les des dos tres mas gracias adios
    hurts puts cuts sets lets costs reads hits shuts quits spreads beats bursts casts splits
    bids upsets resets saws lays spectacles
    securities futures humanities authorities utilities communications relations directions affairs
    arts terms forces values interests rights finals minors majors blues hops stakes boxers slacks
    troops proceedings fundamentals essentials provisions amenities derivatives commodities holdings
    winnings grounds wits heavens reds irons drawers trunks respects songs albums
    premises series corps bows bands bases axes ellipses aides cos sales odds stairs bowels
    guts nuts bolts draws charades chess checkers darts billiards cards
    """.split()
) - {"cards", "bands", "draws", "nuts", "bolts", "miles"}  # fmt: skip


def singular(word: str) -> str:
    """By rule for what is not in a table: a word in -s that is no plural stands in NO_PLURAL."""
    irregular = IRREGULAR_PLURALS.get(word)
    if irregular is not None:
        return irregular
    if len(word) < 4 or word[-1] != "s" or word[-2] in "su'" or word in NO_PLURAL:
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("shes", "ches", "xes", "sses")):
        return word[:-2]
    return word[:-1]
