"""Was it asked before? Answered from the cache, or together with who is asking right now."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.concurrency.background import MOST
from app.core.call import Call, Handler
from app.core.errors import GatewayError, HeaderList, InvalidRequest, UpstreamTimeout
from app.core.keys import Key
from app.policy.caching import CachePlans
from middleware.response_cache import ResponseCache
from tests.cache.serving.serving import COST, FAR, Worker, lookup_of, plan_of, plans_of
from tests.harness.chain import KEY, Answering, RecordingWriter, call_of, header_of, in_loop, turns

SEMANTIC = {"semantic": {"enabled": True}}
REVALIDATED = {"stale_while_revalidate": "60s"}
STALE = {"age": 60_001, "revalidate": 60_000}
PROMPT, AGAIN = "How do I feed a wombat in winter?", "please, how do i feed wombats in winter"


class Sampling:
    """Takes what may be verified, and verifies nothing."""

    def __init__(self) -> None:
        self.matches = 0
        self.controls = 0

    def sample_match(self, *_: object) -> None:
        self.matches += 1

    def sample_control(self, *_: object) -> None:
        self.controls += 1


class Replied:
    """What became of one call."""

    def __init__(self, call: Call, reply: RecordingWriter) -> None:
        self.call = call
        self.texts = reply.texts
        self.said = reply.said

    @property
    def status(self) -> str | None:
        return self.call.outcome.cache


class Layer:
    """The layer over a handler, on a worker of its own."""

    def __init__(self, inner: Handler, plans: CachePlans | None = None) -> None:
        self.worker = Worker()
        self.verifier = Sampling()
        self.recorded: list[Call] = []
        plans = plans or plans_of()
        self.layer = ResponseCache(
            inner,
            services=self.worker.services,
            plan_of=plans.of_call,
            verifier=self.verifier,  # type: ignore[arg-type]
            recorder=self.recorded.append,
        )

    async def ask(
        self, headers: HeaderList | None = None, key: Key = KEY, **members: Any
    ) -> Replied:
        call, reply = call_of(headers, key, **members), RecordingWriter()
        await self.layer(call, reply)
        return Replied(call, reply)

    async def refused(self, headers: HeaderList | None = None, **members: Any) -> GatewayError:
        with pytest.raises(GatewayError) as caught:
            await self.ask(headers, **members)
        return caught.value

    async def settled(self) -> None:
        """What runs in the background is done."""
        await self.worker.services.background.aclose(5)


def control(*directives: bytes) -> HeaderList:
    return [(b"cache-control", directive) for directive in directives]


def counting() -> Answering:
    """Each answer says how many there were before."""
    inner = Answering(lambda _: f"answer {len(inner.calls)}")
    return inner


async def statuses(layer: Layer, *calls: dict[str, Any]) -> list[str | None]:
    return [(await layer.ask(**members)).status for members in calls]


# Hits


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("then", [False, True])
def test_what_was_asked_before_is_not_asked_again(first: bool, then: bool) -> None:
    async def body() -> None:
        inner = Answering()
        layer = Layer(inner)
        asked = [await layer.ask(stream=stream) for stream in (first, then)]
        assert len(inner.calls) == 1
        assert [one.status for one in asked] == ["miss", "hit"]
        assert [one.texts for one in asked] == [["yes it is"]] * 2

    in_loop(body)


def test_a_hit_costs_nothing() -> None:
    async def body() -> None:
        layer = Layer(Answering(cost=COST))
        first, then = [await layer.ask() for _ in range(2)]
        assert (first.call.outcome.cost, first.call.outcome.saved) == (COST, 0)
        assert (then.call.outcome.cost, then.call.outcome.saved) == (0, COST)

    in_loop(body)


def test_how_an_answer_is_delivered_is_no_difference() -> None:
    async def body() -> None:
        layer = Layer(Answering())
        usage = {"stream": True, "stream_options": {"include_usage": True}, "user": "me"}
        assert await statuses(layer, {}, usage) == ["miss", "hit"]

    in_loop(body)


@pytest.mark.parametrize(
    "other", [{"prompt": "other"}, {"max_tokens": 5}, {"seed": 1}, {"unheard_of": 1}]
)
def test_another_request_is_a_miss(other: dict[str, Any]) -> None:
    async def body() -> None:
        assert await statuses(Layer(Answering()), {}, other) == ["miss", "miss"]

    in_loop(body)


def test_another_tenants_answer_is_not_served() -> None:
    async def body() -> None:
        assert await statuses(Layer(Answering()), {}, {"key": FAR}) == ["miss", "miss"]

    in_loop(body)


def test_a_hot_answer_is_served_without_the_store() -> None:
    async def body() -> None:
        layer = Layer(Answering())
        await layer.worker.services.local_tier.ask()
        assert await statuses(layer, {}, {}) == ["miss", "hit"]
        asked = layer.worker.store.asked
        assert (await layer.ask()).status == "hit"
        assert layer.worker.store.asked == asked

    in_loop(body)


@pytest.mark.parametrize("stream", [False, True])
def test_a_batch_known_in_part_is_asked_for_the_rest(stream: bool) -> None:
    async def body() -> None:
        inner = Answering(lambda prompt: f"re {prompt}")
        layer = Layer(inner)
        await layer.ask(prompt="b")
        batch = await layer.ask(prompt=["a", "b", "c"], stream=stream)
        assert inner.prompts == [["b"], ["a", "c"]]
        assert (batch.status, batch.texts) == ("partial", ["re a", "re b", "re c"])
        assert (await layer.ask(prompt=["c", "a"], stream=stream)).status == "hit"

    in_loop(body)


def test_a_large_body_gets_its_fingerprint_beside_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("middleware.response_cache.LARGE_BODY", 0)

    async def body() -> None:
        assert await statuses(Layer(Answering()), {}, {}) == ["miss", "hit"]

    in_loop(body)


# What callers ask of the cache


def test_a_caller_may_want_a_new_answer_which_is_kept() -> None:
    async def body() -> None:
        layer = Layer(counting())
        await layer.ask()
        new = await layer.ask(control(b"no-cache"))
        assert (new.status, new.texts) == ("miss", ["answer 2"])
        assert (await layer.ask()).texts == ["answer 2"]

    in_loop(body)


def test_a_caller_may_leave_nothing() -> None:
    async def body() -> None:
        layer = Layer(Answering())
        headers = control(b"no-store")
        assert await statuses(layer, {"headers": headers}, {}) == ["miss", "miss"]
        assert (await layer.ask(headers)).status == "hit"

    in_loop(body)


@pytest.mark.parametrize(
    "headers", [control(b"no-cache, no-store"), control(b"no-cache", b"no-store")]
)
def test_a_caller_may_want_nothing_of_the_cache(headers: HeaderList) -> None:
    async def body() -> None:
        layer = Layer(Answering())
        await layer.ask()
        asked = layer.worker.store.asked
        assert (await layer.ask(headers)).status == "bypass"
        assert layer.worker.store.asked == asked

    in_loop(body)


@pytest.mark.parametrize("cached", [True, False])
def test_a_caller_may_want_a_kept_answer_or_none(cached: bool) -> None:
    async def body() -> None:
        inner = Answering()
        layer = Layer(inner)
        if cached:
            await layer.ask()
            assert (await layer.ask(control(b"only-if-cached"))).status == "hit"
        else:
            error = await layer.refused(control(b"only-if-cached"))
            assert (error.status, error.code, error.retryable) == (504, "not_cached", False)
            assert not inner.calls

    in_loop(body)


def test_who_wants_a_kept_answer_or_none_gets_none_where_nothing_is_kept() -> None:
    async def body() -> None:
        inner = Answering()
        layer = Layer(inner)
        layer.layer._plan_of = lambda call: None  # type: ignore[method-assign]
        assert (await layer.refused(control(b"only-if-cached"))).code == "not_cached"
        assert not inner.calls

    in_loop(body)


def test_a_directive_that_is_wrong_is_said() -> None:
    async def body() -> None:
        error = await Layer(Answering()).refused([(b"x-headgate-cache-ttl", b"soon")])
        assert isinstance(error, InvalidRequest)
        assert error.param == "x-headgate-cache-ttl"

    in_loop(body)


def test_a_namespace_is_a_cache_of_its_own() -> None:
    async def body() -> None:
        layer = Layer(Answering())
        other = {"headers": [(b"x-headgate-cache-namespace", b"blue")]}
        assert await statuses(layer, {}, other, other, {}) == ["miss", "miss", "hit", "hit"]

    in_loop(body)


# Headers that go upstream


@pytest.mark.parametrize("prompt", ["p", ["p", "q"]])
def test_each_header_that_goes_upstream_has_an_answer_of_its_own(prompt: Any) -> None:
    async def body() -> None:
        layer = Layer(Answering(), plans_of(forwarded=["x-org"]))
        one, other, none = (
            {"headers": headers, "prompt": prompt}
            for headers in ([(b"x-org", b"1")], [(b"x-org", b"2")], [])
        )
        assert await statuses(layer, one, other, none, one, other, none) == [
            *["miss"] * 3,
            *["hit"] * 3,
        ]

    in_loop(body)


def test_a_header_that_stays_here_is_no_difference() -> None:
    async def body() -> None:
        layer = Layer(Answering(), plans_of(forwarded=["x-org"]))
        others = [{"headers": [(b"x-team", team)]} for team in (b"1", b"2")]
        assert await statuses(layer, *others) == ["miss", "hit"]

    in_loop(body)


def test_another_header_is_another_flight() -> None:
    async def body() -> None:
        gate = asyncio.Event()
        inner = Answering(gate=gate)
        layer = Layer(inner, plans_of(forwarded=["x-org"]))
        asked = [asyncio.create_task(layer.ask([(b"x-org", org)])) for org in (b"1", b"2", b"1")]
        await turns()
        gate.set()
        assert [one.status for one in await asyncio.gather(*asked)] == [
            "miss",
            "miss",
            "coalesced",
        ]
        assert len(inner.calls) == 2

    in_loop(body)


def test_a_paraphrase_under_another_header_is_a_miss() -> None:
    async def body() -> None:
        layer = Layer(Answering(), plans_of(forwarded=["x-org"], **SEMANTIC))
        first, same = ({"prompt": text, "headers": [(b"x-org", b"1")]} for text in (PROMPT, AGAIN))
        other = same | {"headers": [(b"x-org", b"2")]}
        assert await statuses(layer, first, other, same) == ["miss", "miss", "hit"]

    in_loop(body)


def test_a_renewal_is_kept_under_the_headers_that_caused_it() -> None:
    async def body() -> None:
        org = [(b"x-org", b"1")]
        inner = counting()
        layer = Layer(inner, plans_of(REVALIDATED, forwarded=["x-org"]))
        lookup = lookup_of(call_of(org), plan_of(REVALIDATED, forwarded=["x-org"]))
        lookup.headers = org
        lookup.identify(lookup.where.fingerprints(lookup.request, org))
        await layer.worker.keep(lookup, "old", **STALE)
        assert (await layer.ask(org)).status == "stale"
        await layer.settled()
        assert inner.calls[0].header_lines == org
        assert [(await layer.ask(headers)).texts for headers in (org, [])] == [
            ["answer 1"],
            ["answer 2"],
        ]

    in_loop(body)


# What is not cached


def test_without_a_plan_a_call_just_passes() -> None:
    async def body() -> None:
        inner = Answering()
        layer = Layer(inner)
        layer.layer._plan_of = lambda call: None  # type: ignore[method-assign]
        asked = await layer.ask()
        assert inner.calls == [asked.call]
        assert (asked.status, header_of(asked.call, b"x-headgate-cache")) == (None, None)

    in_loop(body)


def test_a_sampled_answer_is_not_reused_where_the_plan_says_so() -> None:
    async def body() -> None:
        sampled = {"temperature": 1}
        layer = Layer(Answering(), plans_of(sampled="bypass"))
        assert await statuses(layer, sampled, sampled, {}, {}) == [
            "bypass",
            "bypass",
            "miss",
            "hit",
        ]

    in_loop(body)


def test_a_sampled_call_is_not_shared_but_kept() -> None:
    async def body() -> None:
        gate = asyncio.Event()
        inner = Answering(gate=gate)
        layer = Layer(inner)
        asked = [asyncio.create_task(layer.ask(temperature=1)) for _ in range(2)]
        await turns()
        gate.set()
        await asyncio.gather(*asked)
        assert len(inner.calls) == 2
        assert (await layer.ask(temperature=1)).status == "hit"

    in_loop(body)


def test_a_stream_with_usage_in_every_chunk_is_asked_for_itself() -> None:
    async def body() -> None:
        options = {"include_usage": True, "continuous_usage_stats": True}
        own = {"stream": True, "stream_options": options}
        layer = Layer(Answering())
        assert await statuses(layer, own, own, {}, own) == ["miss", "miss", "miss", "hit"]

    in_loop(body)


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_is_not_kept(stream: bool) -> None:
    async def body() -> None:
        inner = Answering(refusal=UpstreamTimeout("late"))
        layer = Layer(inner)
        assert isinstance(await layer.refused(stream=stream), UpstreamTimeout)
        inner.refusal = None
        assert (await layer.ask(stream=stream)).status == "miss"
        assert layer.worker.idle

    in_loop(body)


# Together


@pytest.mark.parametrize("stream", [False, True])
def test_all_who_ask_at_once_are_one_call(stream: bool) -> None:
    async def body() -> None:
        gate = asyncio.Event()
        inner = Answering(gate=gate)
        layer = Layer(inner)
        asked = [asyncio.create_task(layer.ask(stream=stream)) for _ in range(5)]
        await turns()
        gate.set()
        replies = await asyncio.gather(*asked)
        assert len(inner.calls) == 1
        assert sorted(str(one.status) for one in replies) == [*["coalesced"] * 4, "miss"]

    in_loop(body)


# Stale answers


def test_a_stale_answer_is_served_and_renewed_meanwhile() -> None:
    async def body() -> None:
        inner = counting()
        layer = Layer(inner, plans_of(REVALIDATED))
        await layer.worker.keep(lookup_of(plan=plan_of(REVALIDATED)), "old", **STALE)
        asked = [await layer.ask() for _ in range(2)]
        assert [(one.status, one.texts) for one in asked] == [("stale", ["old"])] * 2
        await layer.settled()
        assert (await layer.ask()).texts == ["answer 1"]
        assert layer.worker.idle

    in_loop(body)


def test_a_renewal_is_recorded_on_the_account_of_who_caused_it() -> None:
    async def body() -> None:
        layer = Layer(Answering(cost=COST), plans_of(REVALIDATED))
        await layer.worker.keep(lookup_of(plan=plan_of(REVALIDATED)), "old", **STALE)
        asked = await layer.ask()
        await layer.settled()
        [renewal] = layer.recorded
        outcome = renewal.outcome
        assert (renewal.key, outcome.cache, outcome.status) == (KEY, "renewal", 200)
        assert (outcome.cost, asked.call.outcome.cost) == (COST, 0)
        said = [value for name, value in asked.call.reply_headers if name == b"x-headgate-cache"]
        assert said == [b"stale"]

    in_loop(body)


def test_a_renewal_that_fails_is_recorded_and_leaves_the_old_answer() -> None:
    async def body() -> None:
        layer = Layer(Answering(refusal=UpstreamTimeout("late")), plans_of(REVALIDATED))
        await layer.worker.keep(lookup_of(plan=plan_of(REVALIDATED)), "old", **STALE)
        await layer.ask()
        await layer.settled()
        [renewal] = layer.recorded
        assert (renewal.outcome.status, renewal.outcome.error_code) == (504, "upstream_timeout")
        assert (await layer.ask()).status == "stale"

    in_loop(body)


def test_where_too_much_runs_already_a_renewal_is_left_to_others() -> None:
    async def body() -> None:
        inner = Answering()
        layer = Layer(inner, plans_of(REVALIDATED))
        await layer.worker.keep(lookup_of(plan=plan_of(REVALIDATED)), "old", **STALE)
        for _ in range(MOST):
            layer.worker.services.background.start(asyncio.Event().wait)  # type: ignore[arg-type]
        assert (await layer.ask()).status == "stale"
        assert layer.worker.idle
        await layer.worker.services.background.aclose(0)
        assert (await layer.ask()).status == "stale"
        await layer.settled()
        assert len(inner.calls) == 1

    in_loop(body)


# Without the store


@pytest.mark.parametrize("stream", [False, True])
def test_without_the_store_everything_passes(stream: bool) -> None:
    async def body() -> None:
        layer = Layer(Answering())
        layer.worker.store.out = True
        replies = [await layer.ask(stream=stream) for _ in range(2)]
        assert [one.status for one in replies] == ["bypass"] * 2
        assert [one.texts for one in replies] == [["yes it is"]] * 2

    in_loop(body)


def test_a_call_that_waited_for_the_store_once_does_not_wait_again() -> None:
    async def body() -> None:
        layer = Layer(Answering())
        call, reply = call_of(), RecordingWriter()
        call.store_out = True
        await layer.layer(call, reply)
        assert (call.outcome.cache, layer.worker.store.asked) == ("bypass", 0)

    in_loop(body)


def test_a_store_of_the_caches_own_is_asked_though_the_main_one_is_out() -> None:
    async def body() -> list[str | None]:
        layer = Layer(Answering())
        layer.layer._services = layer.worker.services._replace(apart=True)
        calls = [call_of() for _ in range(2)]
        for call in calls:
            call.store_out = True
            await layer.layer(call, RecordingWriter())
        return [call.outcome.cache for call in calls]

    assert in_loop(body) == ["miss", "hit"]


# By meaning


def test_a_paraphrase_is_answered_by_what_it_means() -> None:
    async def body() -> None:
        inner = Answering()
        layer = Layer(inner, plans_of(**SEMANTIC))
        await layer.ask(prompt=PROMPT)
        asked = await layer.ask(prompt=AGAIN)
        assert len(inner.calls) == 1
        assert (asked.status, asked.texts) == ("hit", ["yes it is"])
        assert header_of(asked.call, b"x-headgate-cache-layer") == b"semantic"
        assert header_of(asked.call, b"x-headgate-cache-tier") == b"1"
        assert (layer.verifier.matches, layer.verifier.controls) == (1, 0)

    in_loop(body)


def test_an_answer_by_meaning_has_an_id_that_only_who_was_served_can_name() -> None:
    async def body() -> None:
        layer = Layer(Answering(), plans_of(**SEMANTIC))
        ids = layer.worker.services.feedback_ids
        await layer.ask(prompt=PROMPT)
        assert header_of((await layer.ask(prompt=AGAIN)).call, b"x-headgate-cache-id") is None
        await ids.agree()
        name = header_of((await layer.ask(prompt=AGAIN)).call, b"x-headgate-cache-id")
        assert name is not None
        asked, served = (lookup_of(call_of(prompt=text)).digests[0] for text in (AGAIN, PROMPT))
        assert ids.read(name.decode(), ["acme"]) == ("acme", asked, served)
        assert ids.read(name.decode(), ["other", ""]) is None

    in_loop(body)


def test_an_exact_hit_is_the_control() -> None:
    async def body() -> None:
        layer = Layer(Answering(), plans_of(**SEMANTIC))
        assert await statuses(layer, {"prompt": PROMPT}, {"prompt": PROMPT}) == ["miss", "hit"]
        assert (layer.verifier.matches, layer.verifier.controls) == (0, 1)

    in_loop(body)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"prompt": PROMPT}, {"prompt": "How do I feed a wombat in summer?"}),
        ({"prompt": PROMPT}, {"prompt": AGAIN, "max_tokens": 5}),
        ({"prompt": PROMPT}, {"prompt": AGAIN, "headers": control(b"no-cache")}),
        ({"prompt": PROMPT}, {"prompt": [AGAIN, AGAIN]}),
    ],
    ids=["another question", "another limit", "wants a new one", "a batch"],
)
def test_what_means_something_else_is_a_miss(first: dict[str, Any], then: dict[str, Any]) -> None:
    async def body() -> None:
        layer = Layer(Answering(), plans_of(**SEMANTIC))
        assert await statuses(layer, first, then) == ["miss", "miss"]

    in_loop(body)
