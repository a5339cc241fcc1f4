"""All checks by name, each with the servers that it needs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial

from tests.real import (
    bodies,
    chat_bridge,
    clients_run,
    crowd,
    disconnect,
    families,
    harness,
    matrix,
    outage,
    refusals,
    same,
)
from tests.real.clients_list import CLIENTS, Client
from tests.real.report import Finding
from tests.real.servers import Endpoint, Servers, llama, vllm
from tests.real.servers import gateway as front


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report. `direct` checks make sense without a gateway, too."""

    area: str
    name: str
    needs: frozenset[str]
    run: Callable[[Servers], Finding]
    direct: bool = False

    @property
    def label(self) -> str:
        return f"{self.area}/{self.name}"


BOTH = frozenset({"vllm", "llama"})
VLLM = frozenset({"vllm"})
LLAMA = frozenset({"llama"})


def everything() -> Iterator[Check]:
    """In the order of the report; the light ones first."""
    for question in matrix.QUESTIONS:
        yield Check("llama", question.name, LLAMA, partial(_on_llama, question), direct=True)
    for question in matrix.QUESTIONS:
        yield Check("vllm", question.name, VLLM, partial(_on_vllm, question), direct=True)
    for question in chat_bridge.QUESTIONS:
        yield Check("chat bridge", question.name, VLLM, partial(_bridge, question))
    for question, param in chat_bridge.REFUSED:
        yield Check("chat bridge", question.name, VLLM, partial(_refused, question, param))
    yield from _families()
    for refusal in refusals.REFUSALS:
        yield Check("errors", refusal.name, BOTH, partial(_error, refusal))
    for sent in bodies.every():
        yield Check("bodies", sent.name, VLLM, partial(_body, sent))
    yield Check("disconnect", "in the middle of a stream", VLLM, _left(disconnect.streamed))
    yield Check("disconnect", "before a plain answer", VLLM, _left(disconnect.plain))
    yield Check("outage", "the server dies and comes back", frozenset(), outage.survived)
    yield Check("outage", "a kept connection that the server closed", LLAMA, _idle)
    yield Check("crowd", "no answer goes to another caller", VLLM, _crowd)
    yield Check("lm-eval", "the same scores", VLLM, _scores, direct=True)
    yield Check("lm-eval", "the same answers in conversation", VLLM, _chat_scores, direct=True)
    for client in CLIENTS:
        yield Check("clients", client.name, VLLM, partial(_client, client))


def _families() -> Iterator[Check]:
    """Chat, tools, gaps to be filled, Anthropic's form, vectors: on both servers."""
    for name, needs in (("llama", LLAMA), ("vllm", VLLM)):
        for asked in families.CONVERSATIONS:
            run = partial(_chat, name, asked)
            yield Check("chat", f"{asked.name}, {name}", needs, run, direct=True)
        run = partial(_compared, families.fill, name, f"fim-{name}")
        yield Check("fim", f"by the model's template, {name}", needs, run)
        run = partial(_compared, families.message, name, f"tiny-{name}")
        yield Check("messages", f"plain and streamed, {name}", needs, run)
    yield Check("embeddings", "llama", frozenset(), _vectors_of_llama)
    yield Check("embeddings", "vllm", frozenset(), _vectors_of_vllm)


def selected(patterns: list[str], *, direct: bool) -> list[Check]:
    """The checks whose area or label one of the patterns matches; all without a pattern."""
    return [
        check
        for check in everything()
        if (check.direct or not direct)
        and (
            not patterns
            or any(fnmatchcase(name, p) for p in patterns for name in (check.area, check.label))
        )
    ]


def _there(endpoint: Endpoint | None) -> Endpoint:
    if endpoint is None:
        raise LookupError("the server that this check needs does not run")
    return endpoint


def _on_vllm(question: matrix.Question, servers: Servers) -> Finding:
    gateway = servers.gateway and servers.gateway.under("tiny-vllm")
    return same.compare(question, _there(servers.vllm), gateway)


def _on_llama(question: matrix.Question, servers: Servers) -> Finding:
    gateway = servers.gateway and servers.gateway.under("tiny-llama")
    return same.compare(question, _there(servers.llama), gateway)


def _chat(name: str, asked: families.Conversation, servers: Servers) -> Finding:
    gateway = servers.gateway and servers.gateway.under(f"tiny-{name}")
    return families.converse(asked, _there(getattr(servers, name)), gateway)


def _compared(
    compare: Callable[[Endpoint, Endpoint], Finding], name: str, alias: str, servers: Servers
) -> Finding:
    return compare(_there(getattr(servers, name)), _there(servers.gateway).under(alias))


def _vectors_of_llama(_: Servers) -> Finding:
    with (
        llama(None, "llama-vectors.log", "--embedding", "True") as server,
        front(None, server, "llama-vectors") as gateway,
    ):
        return families.embed(server, gateway.under("tiny-llama"))


def _vectors_of_vllm(_: Servers) -> Finding:
    options = ("--runner", "pooling", "--convert", "embed")
    with (
        vllm(*options, log="vllm-vectors.log") as server,
        front(server, None, "vllm-vectors") as gateway,
    ):
        return families.embed(server, gateway.under("tiny-vllm"))


def _bridge(question: matrix.Question, servers: Servers) -> Finding:
    gateway = _there(servers.gateway).under("tiny-chat")
    return chat_bridge.compare(question, _there(servers.vllm), gateway)


def _refused(question: matrix.Question, param: str | None, servers: Servers) -> Finding:
    return chat_bridge.refuse(question, param, _there(servers.gateway).under("tiny-chat"))


def _error(refusal: refusals.Refusal, servers: Servers) -> Finding:
    return refusal.check(_there(servers.gateway))


def _left(leave: Callable[[Endpoint, Endpoint], Finding]) -> Callable[[Servers], Finding]:
    return lambda servers: leave(_there(servers.vllm), _there(servers.gateway))


def _body(sent: bodies.Body, servers: Servers) -> Finding:
    return bodies.replay(sent, _there(servers.vllm), _there(servers.gateway))


def _idle(servers: Servers) -> Finding:
    return outage.idle(_there(servers.gateway).under("tiny-llama"))


def _crowd(servers: Servers) -> Finding:
    return crowd.compare(_there(servers.vllm), _there(servers.gateway))


def _scores(servers: Servers) -> Finding:
    return harness.compare(_there(servers.vllm), servers.gateway)


def _chat_scores(servers: Servers) -> Finding:
    return harness.compare(_there(servers.vllm), servers.gateway, chat=True)


def _client(client: Client, servers: Servers) -> Finding:
    return clients_run.prove(client, _there(servers.gateway))
