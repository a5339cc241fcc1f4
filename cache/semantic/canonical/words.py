"""The kinds of words the canonical key and the guard treat apart."""

from __future__ import annotations


def rows(text: str) -> dict[str, str]:
    """Each line: the word that stands for the row, then the words it stands for."""
    table: dict[str, str] = {}
    for line in text.strip().splitlines():
        first, *others = line.split()
        table.update(dict.fromkeys(others, first))
    return table


ARTICLES = frozenset({"a", "an", "the"})


PRONOUNS = frozenset(
    """i me my mine myself you your yours yourself yourselves he him his himself she her hers
    herself it its itself we us our ours ourselves they them their theirs themselves someone
    somebody anyone anybody everyone everybody one this that these those""".split()
)
QUESTIONS = frozenset("what who whom whose when where why how which".split())
NEGATIONS = frozenset(
    """not no never neither nor none nobody nothing nowhere without hardly barely scarcely rarely
    seldom except unless cannot""".split()
)
PRESENT = frozenset("is are am be being do does has have".split())
TENSES = PRESENT | frozenset(
    """was were been did had will would can could shall should must may might ought used going
    need able""".split()
)
DIRECTIONS = frozenset(
    """from to before after into onto out of in on off above below over under up down by with for
    against since until till between among through across around behind beside near inside outside
    toward towards at per via within during beyond than as about along past""".split()
)
JOINERS = frozenset(
    "and or but if whether because so then while though although both either".split()
)

FUNCTION_WORDS = (
    ARTICLES | PRONOUNS | QUESTIONS | NEGATIONS | TENSES | DIRECTIONS | JOINERS
    | frozenset(
        """there here please get got want some any all many much more most very too also just only
        let tell me give go make thing s't 's s' . yes ok okay know""".split()
    )
)  # fmt: skip

# Opposites. A word on one side is never taken for one on the other, however near they are.
POLARITY = frozenset(
    """enable disable enabled disabled safe unsafe increase decrease increased decreased more less
    fewer most least min max minimum maximum open close opened closed lock unlock locked unlocked
    allow forbid deny permit prohibit accept reject accepted rejected start stop begin end on off
    activate deactivate activated deactivated add remove subtract multiply divide buy sell rent
    lend borrow import export upload download install uninstall connect disconnect legal illegal
    possible impossible true false correct incorrect right wrong good bad best worst better worse
    high low higher lower highest lowest hot cold warm cool big small large tiny long short longer
    shorter tall early late earlier later first last same different positive negative left push
    pull win lose won lost gain loss profit fast slow faster slower cheap expensive new old newer
    older oldest newest young rich poor strong weak easy hard light dark heavy thin thick wide
    narrow full empty public private internal external include exclude included excluded inside
    outside always never all none some every any love hate like dislike active inactive passive
    healthy unhealthy happy unhappy sad male female man woman men women boy girl mother father
    brother sister son daughter husband wife king queen uncle aunt north south east west northern
    southern eastern western summer winter morning evening day night credit debit deposit withdraw
    send receive sent received give take arrive depart arrival departure enter exit sunrise sunset
    encrypt decrypt compress decompress encode decode lossy lossless sync async synchronous
    asynchronous ascending descending horizontal vertical upper lower clockwise counterclockwise
    absorb emit attract repel expand contract rise fall raise lower visible invisible known unknown
    common rare safe dangerous cause prevent import lend attack defend victory defeat input output
    encourage discourage agree disagree approve disapprove mortal immortal regular irregular
    """.split()
)

# With a capital inside a sentence these mean something else: keep the capital.
NAMES_THAT_ARE_WORDS = frozenset(
    """turkey polish march may will august apple amazon windows word excel python java rust
    go swift shell target gap visa bill mark frank grant jack chase discover mercury
    reading nice bath cork mobile buffalo phoenix job mint slack zoom teams signal edge chrome
    safari access outlook oracle prime echo nest square stripe sprint orange blackberry galaxy pixel
    surface steam unity spring flask ruby queen pink kiss cars doors eagles police hope faith grace
    joy rose lily daisy ivy violet olive pearl dawn summer autumn sue pat rob drew art guy ray rich
    chuck dick don gene herb miles nick pierce rusty skip tad wade ward woody young
    brown black white green gray king cook baker smith hunter fisher carter mason potter
    latex basic pascal perl julia scala crystal nim dart elm cocoa spark hive pig storm kafka
    bush jaguar mustang beetle golf focus fiesta escort civic accord fit
    guinea greece niger lent mass easter bologna hamburger
    swede dutch catholic democrat republican liberal
    conservative labor labour congress house senate post guardian sun mirror mail
    twitter meta x alphabet uber lyft lift notion linear figma sketch drive docs sheets
    slides keynote pages
    """.split()
)  # fmt: skip

# All in capitals these are names of their own: US is not us, WHO is not who.
ACRONYMS_THAT_ARE_WORDS = frozenset(
    """us it who aids sat act led cat pet met sad ms am or in is on me he so as at be by if to up
    an oh hi id ok car ice ram rom can may was has do go dos add mad pip salt start stem swat cop
    bat bit tip mac rice tea tank pi pa ma la la de al all her him his our are for nor era gap
    fat ace aim base care case cast core dare east fast fear flag gas hand help ira jack lap last
    let map mars mash mat may mess mod net new nice now one pan past path peer pen per pin pod pop
    post rap rat raw red rest rip rose run safe scan seal set sim sit six smart snap soap spa spam
    spot star steam sting sun swift tag tan tap tar tax ten thaad tie tin top tor tort toy van vat
    war wasp wave web win wise word zip
    """.split()
) - {"pin", "sim", "id", "ok", "spa", "tax", "web", "zip", "spam", "let", "all", "is", "if", "so",
     "for", "do", "be", "by", "as", "at", "to", "up", "an", "now", "new", "or", "in", "on", "are",
     "can", "was", "has", "may", "one", "last", "help", "safe", "top", "run", "set"}  # fmt: skip

ABBREVIATIONS = frozenset("mr mrs ms dr st vs prof jr sr etc mt ft inc ltd co eg ie".split())

FRESH = frozenset(
    """today tonight now latest current currently price pricing weather forecast news yesterday
    tomorrow nowadays recent recently stock score headline breaking upcoming trending todays
    presently newest ago""".split()
)
FRESH_PAIRS = frozenset(
    [
        *((a, b) for a in ("this", "next", "last", "past", "coming")
          for b in """week month year weekend night season morning afternoon evening quarter monday
          tuesday wednesday thursday friday saturday sunday summer winter spring fall""".split()),
        *(("live", b) for b in """score stream update result feed tv game match news traffic data
          coverage""".split()),
        ("exchange", "rate"), ("what", "time"), ("what", "day"), ("what", "date"),
        ("is", "date"), ("is", "time"), ("is", "next"), ("are", "next"),
        ("still", "alive"), ("still", "open"), ("still", "available"), ("at", "moment"), ("so", "far"), ("just", "now"),
    ]
)  # fmt: skip

# Common words of the neighbours that are no English words: their sentences are not folded here.
OTHER_LANGUAGES = frozenset(
    """der das und ist ich nicht ein eine einen wie wir auf mit fur für den dem zu zum zur auch
    sind kann wo warum wer le les des du est et que qui je tu il elle nous vous dans pour avec sur
    pas une un ce cette comment pourquoi quel quelle sont el los las una por para con del como cómo
    qué cuál es en y mi su donde dónde cuándo il lo gli che di non è sono della nel come perché um
    uma os as não você eu meu minha het een van ik niet hoe wat och att är jag det som på ska jest
    nie się jak""".split()
) - {"as", "non", "come", "des", "van", "um"}  # fmt: skip
ENGLISH = FUNCTION_WORDS - {"'s", ".", "s'"}
