"""The guardrails of a configuration as rules."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from app.config import guardrails as sections
from app.config.guardrails import Rule as Section
from app.guardrails.kinds.injection import injection_patterns
from app.guardrails.kinds.pii import pii_patterns
from app.guardrails.kinds.remote import Guarded, Post, moderation, webhook
from app.guardrails.kinds.secrets import secret_patterns
from app.guardrails.kinds.topics import Encoder, Topics
from app.guardrails.kinds.whole_text import allow_check, length_check, schema_check
from app.guardrails.matching.normal_form import SMUGGLING
from app.guardrails.matching.pattern import Pattern
from app.guardrails.matching.scanner import Words
from app.guardrails.plan import GuardPlans
from app.guardrails.rule import Remote, Rule, Scope
from app.providers.client.outside import Outside

# Grows when the built-in patterns change: what was kept under the old ones is looked at anew.
BUILT_IN = b"1"


class Guardrails(NamedTuple):
    """The plans, and the connections that their rules hold."""

    plans: GuardPlans
    outside: list[Outside]

    async def aclose(self) -> None:
        for one in self.outside:
            await one.aclose()


def make_guardrails(
    rules: Mapping[str, Section], encoder_of: Callable[[str], Encoder]
) -> Guardrails:
    """Every rule, ready. The configuration was checked, so its patterns compile."""
    outside: list[Outside] = []

    def post_to(url: str, deadline: float, api_key: str, name: str) -> Post:
        made = Outside(url, deadline, api_key, name)
        outside.append(made)
        return made.post

    made = [rule_of(name, section, post_to, encoder_of) for name, section in rules.items()]
    return Guardrails(GuardPlans(made), outside)


def rule_of(
    name: str,
    section: Section,
    post_to: Callable[[str, float, str, str], Post] | None = None,
    encoder_of: Callable[[str], Encoder] | None = None,
) -> Rule:
    """One rule. Without ``post_to`` and ``encoder_of``, those beyond a network are left out.

    Raises BadPattern, ValueError and OSError for what a configuration's check would refuse.
    """
    said = {"replacement": section.replacement, **_looked_for(name, section)}
    content = _file_of(section)
    if isinstance(section, sections.TopicsRule) and encoder_of is not None:
        topics = Topics(encoder_of(section.encoder), section.topics, section.threshold)
        said["remote"] = Guarded(topics, DEADLINE)
    elif isinstance(section, sections.RemoteRule) and post_to is not None:
        said["remote"] = Guarded(_remote(name, section, post_to), float(section.deadline))
        said["fails_open"] = section.on_failure == "open"
        said["window"] = section.window
    unscannable = section.unscannable or ("allow" if section.mode == "observe" else "refuse")
    return Rule(
        name=name,
        kind=str(section.__struct_config__.tag),
        mode=section.mode,
        phases=section.phases,
        scope=Scope(section.models, section.tenants, section.keys),
        identity=blake2b(repr((name, section, content)).encode() + BUILT_IN).digest(),
        on_request=section.on_request,
        unscannable=unscannable,
        **said,
    )


DEADLINE = 0.5  # seconds for vectors; the local encoder takes microseconds


def _looked_for(name: str, section: Section) -> dict[str, Any]:
    """What a rule looks for, by its kind."""
    match section:
        case sections.RegexRule():
            patterns = [
                Pattern(name, regex, max_match=section.max_match) for regex in section.patterns
            ]
            allow = allow_check(section.allow) if section.allow else None
            return {"patterns": tuple(patterns), "whole": allow}
        case sections.KeywordsRule():
            words = Words(name, keywords(section), section.whole_words, section.case_sensitive)
            return {"words": (words,)}
        case sections.PiiRule():
            return {"patterns": tuple(pii_patterns(section.entities))}
        case sections.SecretsRule():
            return {"patterns": tuple(secret_patterns())}
        case sections.InjectionRule():
            return {"patterns": tuple(injection_patterns())}
        case sections.InvisibleRule():
            return {"patterns": (Pattern("invisible", f"{SMUGGLING}{{1,64}}"),)}
        case sections.LengthRule():
            check = length_check(section.max_words, section.min_characters)
            return {"whole": check, "longest": section.max_characters}
        case sections.JsonSchemaRule():
            return {"whole": schema_check(_schema(section))}
    return {}


def keywords(section: sections.KeywordsRule) -> list[str]:
    """The words of a rule: those in the configuration, and a file's, one a line (``#``: a comment)."""
    lines = Path(section.file).read_text("utf-8").splitlines() if section.file else []
    named = [line.strip() for line in lines if not line.lstrip().startswith("#")]
    return [word for word in (*section.words, *named) if word]


def _schema(section: sections.JsonSchemaRule) -> Mapping[str, Any]:
    schema: Mapping[str, Any] = section.schema
    if section.file:
        schema = json.loads(Path(section.file).read_text("utf-8"))
    return schema


def _file_of(section: Section) -> bytes:
    """What the files hold that a rule is read from."""
    file = getattr(section, "file", "")
    return Path(file).read_bytes() if file else b""


def _remote(
    name: str, section: sections.RemoteRule, post_to: Callable[[str, float, str, str], Post]
) -> Remote:
    deadline = float(section.deadline)
    if isinstance(section, sections.WebhookRule):
        return webhook(post_to(section.url, deadline, "", name), section.secret.reveal())
    post = post_to(section.url, deadline, section.api_key.reveal(), name)
    return moderation(post, section.model, section.categories, section.threshold)
