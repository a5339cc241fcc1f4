"""A chat model under /v1/completions: the same text, numbers and usage as its chat answers."""

from typing import Any

from tests.real import answers, promises
from tests.real.matrix import PROMPT, Question
from tests.real.report import Finding
from tests.real.servers import Endpoint
from tests.real.wire import ask

GREEDY = {"max_tokens": 12, "temperature": 0}
USAGE = ("prompt_tokens", "completion_tokens", "total_tokens")


def _question(name: str, **changes: Any) -> Question:
    return Question(name, {"prompt": PROMPT, **GREEDY, **changes})


QUESTIONS = (
    _question("plain"),
    _question("streamed", stream=True),
    _question("streamed with usage", stream=True, stream_options={"include_usage": True}),
    _question("logprobs", logprobs=2),
    _question("logprobs, streamed", logprobs=2, stream=True),
    _question("echo", echo=True),
    _question("echo, streamed", echo=True, stream=True),
    _question("stop", stop=["e"], max_tokens=64),
    _question("n", n=2, temperature=1, seed=7),
    _question("n, streamed", n=2, temperature=1, seed=7, stream=True),
    _question("batch", prompt=[PROMPT, "the keeper", "when it rains"]),
    _question("batch, streamed", prompt=[PROMPT, "the keeper"], stream=True),
    _question("batch and n", prompt=[PROMPT, "the keeper"], n=2, temperature=1, seed=7),
    _question("default max_tokens is 16", max_tokens=None),
)
REFUSED = (
    (_question("suffix refused", suffix=" end"), "suffix"),
    (_question("best_of refused", best_of=3), "best_of"),
    (_question("token ids refused", prompt=[1, 2, 3]), "prompt"),
    (_question("echo with logprobs refused", echo=True, logprobs=1), None),
)


def compare(question: Question, server: Endpoint, gateway: Endpoint) -> Finding:
    """The bridge's answer against one direct chat call for each prompt."""
    expected = _expected(question, server)
    through = ask(gateway, question.body)
    if through.status != 200:
        return Finding(False, f"{through.status} through the gateway: {through.body[:300]!r}")
    if question.streamed:
        broken = promises.of_a_stream(through, usage=question.asks_usage)
        got = answers.folded(through)
        for choice in got["choices"]:
            choice["finish_reason"] = "".join(choice["finish_reason"])
        if not question.asks_usage:
            expected.pop("usage")
    else:
        broken = promises.of_a_plain_answer(through)
        got = through.json()
    found = answers.difference(expected, _reduced(got, with_usage="usage" in expected))
    problems = [found, *broken] if found else broken
    return Finding(not problems, "; ".join(problem for problem in problems if problem))


def refuse(question: Question, param: str | None, gateway: Endpoint) -> Finding:
    """What a chat model cannot do is refused by name, never dropped."""
    answer = ask(gateway, question.body)
    broken = promises.of_an_error(answer, 400)
    if not broken:
        error = answer.json()["error"]
        if error["code"] != "unsupported_parameter":
            broken.append(f"code {error['code']!r}")
        if param and error["param"] != param:
            broken.append(f"param {error['param']!r}")
    return Finding(not broken, "; ".join(broken))


def _expected(question: Question, server: Endpoint) -> dict[str, Any]:
    asked = dict(question.body)
    prompts = asked.pop("prompt")
    echo = asked.pop("echo", False)
    logprobs = asked.pop("logprobs", None)
    asked.pop("stream", None)
    asked.pop("stream_options", None)
    if asked.get("max_tokens") is None:
        asked["max_tokens"] = 16
    if logprobs is not None:
        asked |= {"logprobs": True, "top_logprobs": logprobs}
    choices: list[dict[str, Any]] = []
    usage = dict.fromkeys(USAGE, 0)
    for prompt in prompts if isinstance(prompts, list) else [prompts]:
        body = asked | {"messages": [{"role": "user", "content": prompt}]}
        chat = ask(server, body, path="/chat/completions").json()
        for name in USAGE:
            usage[name] += chat["usage"][name]
        choices += [_legacy(choice, prompt if echo else "") for choice in chat["choices"]]
    return {"choices": choices, "usage": usage}


def _legacy(choice: dict[str, Any], before: str) -> dict[str, Any]:
    made = {
        "text": before + (choice["message"]["content"] or ""),
        "finish_reason": choice["finish_reason"],
    }
    if choice.get("logprobs"):
        content = choice["logprobs"]["content"]
        made["tokens"] = [token["token"] for token in content]
        made["token_logprobs"] = [token["logprob"] for token in content]
    return made


def _reduced(body: dict[str, Any], *, with_usage: bool) -> dict[str, Any]:
    choices = []
    for choice in body["choices"]:
        made = {"text": choice["text"], "finish_reason": choice["finish_reason"]}
        if choice.get("logprobs"):
            made["tokens"] = choice["logprobs"]["tokens"]
            made["token_logprobs"] = choice["logprobs"]["token_logprobs"]
        choices.append(made)
    reduced: dict[str, Any] = {"choices": choices}
    if with_usage:
        reduced["usage"] = {name: (body["usage"] or {}).get(name) for name in USAGE}
    return reduced
