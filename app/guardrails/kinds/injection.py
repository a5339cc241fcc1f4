"""Instructions that try to override those of the operator: phrases, in the words that they are known by.

A heuristic, and so observed rather than blocked unless the operator says otherwise. The phrases are
Headgate's own, after the classes of OWASP's LLM01 and of the published jailbreak collections.
"""

from __future__ import annotations

from app.guardrails.matching.pattern import Pattern

_OVERRIDE = r"(?:ignore|disregard|forget|override|bypass|discard|neglect|skip)"
_EARLIER = (
    r"(?:previous|prior|above|preceding|earlier|former|foregoing|existing|system|initial|original)"
)
_ORDERS = (
    r"(?:instructions?|prompts?|directions?|directives?|commands?|rules?|guidelines?|guidance|context"
    r"|messages?|orders|constraints?|training|programming|polic(?:y|ies)|restrictions?)"
)
_ALL = r"(?:all |any |every |each |the |of |your |my |these |those |its |and |other ){0,4}"

_PHRASES: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("ignore", "disregard", "forget", "override", "bypass", "discard", "neglect", "skip"),
        rf"\b{_OVERRIDE}(?:ing)? {_ALL}{_EARLIER}(?: \w{{1,12}}){{0,2}} {_ORDERS}\b",
    ),
    (
        ("ignore", "disregard", "forget", "override", "bypass", "discard", "neglect", "skip"),
        rf"\b{_OVERRIDE}(?:ing)? (?:all |any |every )?(?:of )?(?:your|the system'?s?|openai'?s?) {_ORDERS}\b",
    ),
    (
        ("ignore", "disregard", "forget"),
        r"\b(?:ignore|disregard|forget) (?:everything|anything|all|what(?:ever)?)(?: that)?(?: (?:was|is|i|you|we|were|has been|have been|you've been|you were))?(?: \w{1,10})? (?:above|before|so far|previously|told|said|earlier)\b",
    ),
    (("follow", "obey", "listen", "comply"), rf"\b(?:do not|don't) (?:follow|obey|listen to|comply with) {_ALL}(?:{_EARLIER} )?{_ORDERS}\b"),
    (("instructions",), r"\b(?:your |here are |these are )?(?:new|real|updated) instructions(?: are|:)"),
    (("dan", "jailbroken", "unrestricted", "unfiltered", "uncensored", "developer", "evil", "without"), r"\b(?:you are now|you're now|from now on,? you (?:are|will be|act as)) (?:an? |in |the |going to )?(?:\w+ ){0,3}(?:dan|jailbroken|unrestricted|unfiltered|uncensored|developer mode|evil|without (?:any )?(?:restrictions|filters|rules|limits))\b"),
    (("anything now",), r"\bdo anything now\b"),
    (("mode",), r"\b(?:enable|enter|activate|switch to|turn on|in) (?:developer|god|jailbreak|dan|sudo) mode\b"),
    (("jailbreak",), r"\bjailbreak (?:prompt|mode|yourself|the (?:model|assistant|ai))\b"),
    (("restrictions", "rules", "limits", "limitations", "filters", "guidelines", "ethics", "morals", "censorship", "guardrails"), r"\b(?:pretend|act as|role-?play|imagine)(?: that| to be| like| if| as| you are| you're| you have| an?){0,3} (?:\w+ ){0,4}(?:no|without|free of|free from|unbound by|not bound by) (?:any )?(?:\w+ )?(?:restrictions|rules|limits|limitations|filters|guidelines|ethics|morals|censorship|guardrails)\b"),
    (("prompt", "message", "instructions"), r"\b(?:reveal|show|print|repeat|output|tell|display|leak|expose|dump|give)(?: me| us)? (?:\w+ ){0,3}(?:your |the )(?:\w+ )?(?:system prompt|system message|initial prompt|hidden prompt|secret prompt|initial instructions|original instructions|hidden instructions|secret instructions|system instructions|internal instructions|confidential instructions)\b"),
    (("prompt", "instructions"), r"\bwhat (?:is|are|was|were) your (?:system prompt|initial prompt|initial instructions|original instructions|hidden instructions|secret instructions|system instructions)\b"),
    (("repeat",), r"\brepeat (?:everything|all|the (?:words|text|message|sentences?)|what(?:ever)? (?:is|was)) (?:\w+ ){0,2}(?:above|before this|written above)\b"),
    (("longer",), r"\byou (?:are|will be) no longer (?:bound|restricted|limited|required|an? (?:ai|assistant|language model))\b"),
    (("restrictions", "filters", "guardrails", "guidelines", "safety"), r"\b(?:disable|remove|turn off|drop|bypass|circumvent|evade|get around) (?:all |any |your |the |of |its ){0,3}(?:\w+ )?(?:restrictions|safety (?:filters?|features?|guidelines?|measures?|protocols?|settings?)|content (?:filters?|policy|policies)|guardrails|safeguards|ethical guidelines)\b"),
    (("opposite",), r"\b(?:opposite day|answer (?:with|in) the opposite of your (?:rules|guidelines|instructions))\b"),
    (("<|im_start|>", "<|im_end|>", "<|system|>", "[/inst]", "<<sys>>", "<|endoftext|>", "<|start_header_id|>"), r"<\|(?:im_start|im_end|system|endoftext|start_header_id|eot_id)\|>|\[/inst\]|<</?sys>>"),
    (("system", "admin"), r"(?:^|\n)\s{0,8}(?:#{1,4}\s?|\[|<)?(?:system|admin(?:istrator)?)(?: (?:prompt|message|override|update|note))?(?:\]|>)?:? (?:you |new |ignore|override|disregard|the user|instructions)"),
    (("override",), r"\b(?:system|admin|security|authorization|emergency) override\b"),
    (("character",), r"\bnever (?:break|leave) character\b.{0,80}\b(?:rules|restrictions|refuse)\b"),
    (("unfiltered", "uncensored", "unrestricted"), r"\b(?:respond|answer|reply|speak|act|behave) (?:\w+ ){0,4}(?:unfiltered|uncensored|unrestricted)(?:ly)?\b"),
    (("ignorier", "vergiss", "missachte"), r"\b(?:ignoriere?|vergiss|missachte) (?:alle |sämtliche |die |deine ){0,3}(?:vorherigen|bisherigen|obigen|früheren|vorigen) (?:anweisungen|instruktionen|befehle|regeln)\b"),
    (("ignora", "olvida", "ignorez", "oublie", "dimentica", "esqueça"), r"\b(?:ignora|olvida|ignorez?|oublie[zr]?|dimentica|esqueça|ignore) (?:todas |tutte |toutes |todos |las |les |le |as |os |tes |vos ){0,3}(?:instrucciones|instructions|istruzioni|instruções|consignes|reglas|regras) (?:anteriores|previas|précédentes|precedenti|prévias)\b"),
)  # fmt: skip


def injection_patterns() -> list[Pattern]:
    """Every phrase as a pattern; runs of spaces count as one."""
    return [
        Pattern(
            "injection",
            f"(?i){_spaced(regex)}",
            keywords=words,
            lead=200,
            max_match=300,
        )
        for words, regex in _PHRASES
    ]


def _spaced(regex: str) -> str:
    return regex.replace(" ", r"\s{1,3}")
