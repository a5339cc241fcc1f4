"""Rules beyond a network: what they are sent, what they may answer, and what becomes of their failures."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from app.core.errors import HeaderList, UpstreamUnreachable
from app.guardrails.kinds.remote import MOST_FAILURES, Guarded, moderation, webhook
from app.guardrails.kinds.topics import Topics
from app.guardrails.plan import GuardPlans
from app.guardrails.rule import Asked, RemoteFailure, Rule, Scope, Verdict
from middleware.input_guardrails import InputGuardrails
from middleware.output_guardrails import OutputGuardrails
from tests.cache.serving.serving import Worker
from tests.harness.chain import Door, in_loop, turns
from tests.harness.guarded import Counted, Speaking, is_blocked, said, said_so_far

ASKED = Asked("id-1", "input", "acme", "web", "house", "chat")


class Endpoint:
    """Answers every POST alike, and remembers what came."""

    def __init__(self, answer: Any = None, failure: Exception | None = None) -> None:
        self.answer = answer
        self.failure = failure
        self.bodies: list[bytes] = []
        self.headers: list[HeaderList] = []

    async def post(self, body: bytes, headers: HeaderList) -> bytes:
        self.bodies.append(body)
        self.headers.append(headers)
        if self.failure is not None:
            raise self.failure
        return self.answer if isinstance(self.answer, bytes) else orjson.dumps(self.answer)


def verdict(rule: Any, *texts: str) -> Verdict:
    found: Verdict = in_loop(lambda: rule(ASKED, list(texts)))
    return found


def test_a_webhook_is_told_who_asks_and_nothing_that_opens_a_door() -> None:
    endpoint = Endpoint({"action": "allow"})
    assert verdict(webhook(endpoint.post, "s" * 16, lambda: 1000.0), "a", "b").action == "allow"
    assert orjson.loads(endpoint.bodies[0]) == {
        "id": "id-1",
        "phase": "input",
        "tenant": "acme",
        "key": "web",
        "model": "house",
        "route": "chat",
        "texts": ["a", "b"],
    }
    signed = hmac.new(b"s" * 16, b"1000." + endpoint.bodies[0], hashlib.sha256).hexdigest()
    assert endpoint.headers[0] == [
        (b"x-headgate-timestamp", b"1000"),
        (b"x-headgate-signature", f"sha256={signed}".encode()),
    ]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"action": "redact", "texts": ["one"]}, "wrong_count"),
        ({"action": "redact"}, "wrong_count"),
        ({"action": "maybe"}, "invalid_answer"),
        ({"texts": []}, "invalid_answer"),
        (b"<html>", "invalid_answer"),
        (b"\xff", "invalid_answer"),
        ([], "invalid_answer"),
    ],
)
def test_what_a_webhook_may_not_answer(answer: Any, reason: str) -> None:
    with pytest.raises(RemoteFailure, match=reason):
        verdict(webhook(Endpoint(answer).post, "s" * 16), "a", "b")


def test_an_endpoint_that_fails_is_a_failure_of_its_kind() -> None:
    with pytest.raises(RemoteFailure, match="upstream_unreachable"):
        verdict(webhook(Endpoint(failure=UpstreamUnreachable("x")).post, "s" * 16), "a")


RESULT = {
    "flagged": True,
    "categories": {"hate": True, "sex": False},
    "category_scores": {"sex": 0.4},
}


@pytest.mark.parametrize(
    ("categories", "threshold", "action"),
    [((), None, "block"), (("hate",), None, "block"), (("sex",), None, "allow"), (("sex",), 0.3, "block"),
     ((), 0.5, "allow")],
)  # fmt: skip
def test_a_moderation_endpoints_answer(
    categories: Sequence[str], threshold: float | None, action: str
) -> None:
    clean = {"flagged": False, "categories": {}, "category_scores": {}}
    endpoint = Endpoint({"results": [clean, RESULT]})
    found = verdict(moderation(endpoint.post, "m", categories, threshold), "a", "b")
    assert found.action == action
    assert orjson.loads(endpoint.bodies[0]) == {"model": "m", "input": ["a", "b"]}


def test_a_category_cannot_write_a_header() -> None:
    bad = {"flagged": True, "categories": {"x\r\nset-cookie: a": True}}
    found = verdict(moderation(Endpoint({"results": [bad]}).post, "m", (), None), "a")
    assert found.entity == "x__set-cookie__a"


def test_too_few_results_are_a_failure() -> None:
    with pytest.raises(RemoteFailure, match="wrong_count"):
        verdict(moderation(Endpoint({"results": []}).post, "m", (), None), "a")


def test_a_rule_that_is_late_is_left() -> None:
    async def late(asked: Asked, texts: Sequence[str]) -> Verdict:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(RemoteFailure, match="timeout"):
        verdict(Guarded(late, 0.01), "a")


def test_a_rule_that_fails_again_and_again_is_left_alone() -> None:
    endpoint = Endpoint(b"")
    rule = Guarded(webhook(endpoint.post, "s" * 16), 1.0)
    for _ in range(MOST_FAILURES):
        with pytest.raises(RemoteFailure, match="invalid"):
            verdict(rule, "a")
    with pytest.raises(RemoteFailure, match="breaker_open"):
        verdict(rule, "a")
    assert len(endpoint.bodies) == MOST_FAILURES


class Vectors:
    async def vector(self, text: str) -> bytes | None:
        import struct

        return struct.pack("<2f", *((1.0, 0.0) if "war" in text else (0.0, 1.0)))


def test_a_topic_is_what_is_near_its_examples() -> None:
    rule = Topics(Vectors(), {"politics": ["a war somewhere"]}, 0.6)
    assert verdict(rule, "bread", "the war goes on") == Verdict("block", entity="politics")
    assert verdict(rule, "bread").action == "allow"


def test_without_a_vector_there_is_no_verdict() -> None:
    class Silent:
        async def vector(self, text: str) -> bytes | None:
            return None

    with pytest.raises(RemoteFailure, match="no_vector"):
        verdict(Topics(Silent(), {"a": ["b"]}, 0.6), "c")


# In the chain


class Chain:
    def __init__(self, rule: Any, speaking: Speaking, **said_of: Any) -> None:
        one = Rule("judge", "webhook", said_of.pop("mode", "block"), said_of.pop("phases", ("input", "output")),
                   Scope(), b"j", remote=rule, **said_of)  # fmt: skip
        self.counted = Counted()
        background = Worker().services.background
        inner = OutputGuardrails(
            speaking, counts=self.counted, background=background, max_buffer=1 << 18
        )
        self.handler = InputGuardrails(
            inner,
            plans=GuardPlans([one]),
            counts=self.counted,
            background=background,
            detokenizer_of=lambda _: None,
        )

    def ask(self, **members: Any) -> Door:
        async def run() -> Door:
            door = await Door(**members).through(self.handler)
            await turns(30)
            return door

        found: Door = in_loop(run)
        return found


def judge(action: str, *texts: str) -> tuple[Any, list[list[str]]]:
    seen: list[list[str]] = []

    async def rule(asked: Asked, sent: Sequence[str]) -> Verdict:
        seen.append(list(sent))
        return Verdict(action, texts or sent)  # type: ignore[arg-type]

    return rule, seen


@pytest.mark.parametrize("stream", [False, True])
def test_a_judge_of_the_output_sees_it_before_the_caller(stream: bool) -> None:
    rule, seen = judge("block")
    chain = Chain(rule, Speaking("some words"), phases=("output",))
    assert chain.ask(stream=stream).status == 400
    assert seen == [["some words"]]


@pytest.mark.parametrize("stream", [False, True])
def test_what_a_judge_writes_is_delivered(stream: bool) -> None:
    rule, _ = judge("redact", "other words")
    chain = Chain(rule, Speaking("some words"), phases=("output",), mode="redact")
    assert said(chain.ask(stream=stream)) == {"0.text": "other words"}


async def broken(asked: Asked, texts: Sequence[str]) -> Verdict:
    raise RemoteFailure("timeout")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("phase", ["input", "output"])
def test_without_a_verdict_a_closed_rule_refuses(phase: str, stream: bool) -> None:
    door = Chain(broken, Speaking(), phases=(phase,)).ask(stream=stream)
    error = orjson.loads(door.body)["error"]
    assert (door.status, error["code"]) == (503, "guardrail_unavailable")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("phase", ["input", "output"])
def test_an_open_one_lets_it_pass_and_is_counted(phase: str, stream: bool) -> None:
    chain = Chain(broken, Speaking(), phases=(phase,), fails_open=True)
    door = chain.ask(stream=stream)
    assert said(door) == {"0.text": "fine"}
    assert chain.counted.counts["headgate_guardrail_bypass_total:timeout,judge"] == 1
    assert door.exchange.outcome.guardrails == {"judge=bypass:timeout": 1}


@pytest.mark.parametrize("stream", [False, True])
def test_a_judge_that_observes_is_waited_for_by_nobody(stream: bool) -> None:
    seen: list[list[str]] = []

    async def slow(asked: Asked, texts: Sequence[str]) -> Verdict:
        seen.append(list(texts))
        return Verdict("block", entity="bad")

    chain = Chain(slow, Speaking("some words", 2), mode="observe")
    assert said(chain.ask(prompt="hello", stream=stream)) == {"0.text": "some words"}
    assert seen == [["hello"], ["some words"]]
    observed = [name for name in chain.counted.counts if "observe" in name]
    assert len(observed) == 2


# Windows of a stream

LINES = "Water runs to the sea. " * 8  # 184 characters


@pytest.mark.parametrize("step", [1, 7, 50, 500])
def test_a_windowed_judge_hears_all_and_holds_back_a_window_at_most(step: int) -> None:
    rule, seen = judge("allow")
    speaking = Speaking(LINES, step)
    chain = Chain(rule, speaking, phases=("output",), window=40)
    door = chain.ask(stream=True)
    assert said(door) == {"0.text": LINES}
    assert all(len(text) <= 40 + 20 + step for [text] in seen)
    assert len(seen) > 1 or step == 500
    # Put together, with what each saw before taken off, the windows are the text.
    whole = seen[0][0]
    for [text] in seen[1:]:
        assert text[:20] == whole[-20:]
        whole += text[20:]
    assert whole == LINES


def test_what_a_window_holds_never_leaves_when_it_is_refused() -> None:
    judged: list[str] = []

    async def rule(asked: Asked, texts: Sequence[str]) -> Verdict:
        judged.extend(texts)
        return Verdict("block" if "poison" in texts[0] else "allow")

    text = (
        "Water runs to the sea, as ever. " * 3 + "The poison is in the well. " + "More water. " * 9
    )
    chain = Chain(rule, Speaking(text, 5), phases=("output",), window=32)
    door = chain.ask(stream=True)
    assert door.status == 200  # the first windows were good
    assert is_blocked(door)
    left = said_so_far(door)["0"]
    assert text.startswith(left)
    assert "poison" not in left
    assert len(judged) < 10  # the rest was not asked for


def test_the_first_window_is_refused_with_a_status() -> None:
    rule, _ = judge("block")
    door = Chain(rule, Speaking(LINES), phases=("output",), window=40).ask(stream=True)
    assert door.status == 400


def test_a_window_without_a_verdict_ends_the_stream() -> None:
    asked: list[int] = []

    async def rule(_: Asked, texts: Sequence[str]) -> Verdict:
        asked.append(len(texts))
        if len(asked) > 1:
            raise RemoteFailure("timeout")
        return Verdict("allow")

    door = Chain(rule, Speaking(LINES), phases=("output",), window=40).ask(stream=True)
    assert b"guardrail_unavailable" in door.body
    assert b"[DONE]" not in door.body
    assert len(said_so_far(door)["0"]) < 50


def test_a_plain_answer_is_judged_as_a_whole() -> None:
    rule, seen = judge("allow")
    door = Chain(rule, Speaking(LINES), phases=("output",), window=40).ask(stream=False)
    assert said(door) == {"0.text": LINES}
    assert seen == [[LINES]]
