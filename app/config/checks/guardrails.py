"""What the types of a guardrail cannot say: patterns that RE2 takes, files that can be read."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path as FilePath
from time import thread_time

from app.config import guardrails as sections
from app.config.decoding import Path
from app.config.guardrails import Rule

Say = Callable[[Path, str], None]

MODULES = ("re2", "ahocorasick_rs", "stdnum", "phonenumbers")
MAX_WORDS = 100_000
# A text in which patterns are tried, and the CPU a kibibyte above which one is warned of. Ordinary
# patterns take 1 to 3 microseconds.
_SAMPLE = ("The quick brown fox, aaaaaaaaaaaaaaaa 0123456789 a.b@c.de \u00e9\u4f60 " * 512)[:16384]
COSTLY_MICROSECONDS = 40.0


def missing_extra() -> str | None:
    """What to run where the packages that rules need are not installed."""
    if all(find_spec(name) is not None for name in MODULES):
        return None
    return "needs an extra: pip install 'headgate[guardrails]'"


class GuardrailChecks:
    """Looks a configuration's rules over; ``fault`` and ``warn`` take what is wrong with them."""

    def __init__(self, fault: Say, warn: Say) -> None:
        self._fault = fault
        self._warn = warn

    def check(self, path: Path, name: str, rule: Rule) -> None:
        missing = missing_extra()
        if missing is not None:
            self._fault((*path, "kind"), missing)
            return
        if not rule.phases:
            self._fault((*path, "phases"), "must name input, output or both")
        match rule:
            case sections.RegexRule():
                self._regex(path, name, rule)
            case sections.KeywordsRule():
                self._keywords(path, rule)
            case sections.PiiRule() if not rule.entities:
                self._fault((*path, "entities"), "must name at least one")
            case sections.LengthRule():
                self._length(path, rule)
            case sections.JsonSchemaRule():
                self._schema(path, rule)
            case sections.TopicsRule() if not rule.topics:
                self._fault((*path, "topics"), "must name at least one, with examples")
            case _:
                pass
        if isinstance(rule, sections.RemoteRule):
            self._remote(path, rule)
        if rule.mode == "redact" and not isinstance(rule, _CUTTING):
            self._fault((*path, "mode"), "must be block or observe: there is nothing to cut out")

    def _regex(self, path: Path, name: str, rule: sections.RegexRule) -> None:
        if not rule.patterns and not rule.allow:
            self._fault((*path, "patterns"), "must name at least one, or `allow` must")
        if rule.allow and rule.mode == "redact":
            self._fault((*path, "allow"), "goes with the modes block and observe only")
        self._patterns((*path, "allow"), rule.allow, rule)
        if self._patterns((*path, "patterns"), rule.patterns, rule):
            self._label(path, name, rule)

    def _patterns(self, path: Path, patterns: Sequence[str], rule: sections.RegexRule) -> bool:
        from app.guardrails.matching.pattern import BadPattern, Pattern  # noqa: PLC0415 - an extra

        good = True
        for index, regex in enumerate(patterns):
            if regex is None:
                continue
            try:
                pattern = Pattern("", regex, max_match=rule.max_match)
            except BadPattern as error:
                self._fault((*path, index), str(error))
                good = False
                continue
            cost = cost_of(regex)
            if cost > COSTLY_MICROSECONDS:
                self._warn(
                    (*path, index),
                    f"takes {cost:.0f} microseconds of CPU per KiB of text; ordinary patterns take 2",
                )
            if not pattern.exact and path[-1] == "patterns":
                self._warn(
                    (*path, index),
                    f"has a repeat without an end: a match counts up to {rule.max_match} characters "
                    "(`max_match`), and what hangs on to it goes with it",
                )
        return good

    def _label(self, path: Path, name: str, rule: sections.RegexRule) -> None:
        """What stands for a match must not be one itself."""
        from app.guardrails.matching.pattern import compiled  # noqa: PLC0415 - an extra

        label = f"[{name.upper()}]" if rule.replacement is None else rule.replacement
        if rule.mode != "redact":
            return
        for index, regex in enumerate(rule.patterns):
            if label and compiled(regex).search(label.encode()):
                self._fault(
                    (*path, "patterns", index), f"matches {label!r}, which stands for its matches"
                )

    def _keywords(self, path: Path, rule: sections.KeywordsRule) -> None:
        words = [word for word in rule.words if word]
        if rule.file:
            try:
                words += FilePath(rule.file).read_text("utf-8").split("\n")
            except OSError as error:
                self._fault((*path, "file"), f"cannot be read: {error.strerror}")
                return
            except UnicodeDecodeError:
                self._fault((*path, "file"), "is not UTF-8 text")
                return
        if not any(word.strip() for word in words):
            self._fault((*path, "words"), "must name at least one, or `file` must")
        if len(words) > MAX_WORDS:
            self._fault((*path, "file"), f"has more than {MAX_WORDS} words")
        if any(len(word) > 256 for word in words):
            self._fault((*path, "words"), "must have at most 256 characters each")

    def _length(self, path: Path, rule: sections.LengthRule) -> None:
        if rule.max_characters is None and rule.max_words is None and rule.min_characters is None:
            self._fault(path, "needs `max_characters`, `max_words` or `min_characters`")

    def _schema(self, path: Path, rule: sections.JsonSchemaRule) -> None:
        from app.guardrails.kinds.whole_text import schema_check  # noqa: PLC0415 - an extra

        if find_spec("jsonschema_rs") is None:
            self._fault((*path, "kind"), "needs an extra: pip install 'headgate[guardrails]'")
            return
        try:
            schema = rule.schema
            if rule.file:
                schema = json.loads(FilePath(rule.file).read_text("utf-8"))
            schema_check(schema)
        except OSError as error:
            self._fault((*path, "file"), f"cannot be read: {error.strerror}")
        except ValueError as error:
            self._fault((*path, "file" if rule.file else "schema"), str(error))

    def _remote(self, path: Path, rule: sections.RemoteRule) -> None:
        if not rule.url.startswith(("http://", "https://")):
            self._fault((*path, "url"), "expected an address like https://host/path")
        if rule.deadline <= 0:
            self._fault((*path, "deadline"), "must be more than 0")
        if rule.window is not None and rule.mode == "redact":
            self._fault(
                (*path, "window"),
                "needs the mode block or observe: what has left cannot be written anew",
            )
        if isinstance(rule, sections.WebhookRule) and len(rule.secret.reveal()) < 16:
            self._fault((*path, "secret"), "must have at least 16 characters: it signs every call")


_CUTTING = (
    sections.RegexRule,
    sections.KeywordsRule,
    sections.PiiRule,
    sections.SecretsRule,
    sections.InjectionRule,
    sections.InvisibleRule,
    sections.WebhookRule,
)


def cost_of(regex: str) -> float:
    """Microseconds of CPU that a pattern takes for a kibibyte of text in which it finds nothing much."""
    from app.guardrails.matching.pattern import compiled  # noqa: PLC0415 - an extra

    search = compiled(regex).search
    data = _SAMPLE.encode()
    search(data)  # builds its automaton
    began = thread_time()
    at, tries = 0, 0
    while at < len(data) and tries < 64:
        found = search(data, at)
        tries += 1
        if found is None:
            break
        at = max(found.end(), at + 1)
    return (thread_time() - began) * 1e6 / (len(data) / 1024)
