"""Many callers at once: each gets the answer to its own question."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.real import answers
from tests.real.report import Finding
from tests.real.servers import Endpoint
from tests.real.wire import Answer, ask

CALLERS = 24
ROUNDS = 3


def compare(server: Endpoint, gateway: Endpoint) -> Finding:
    """Texts only: sums in another order have other last digits when a server batches."""
    asked = [_question(number) for number in range(CALLERS)]
    expected = [_texts(body, ask(server, body)) for body in asked]
    with ThreadPoolExecutor(CALLERS) as pool:
        for _ in range(ROUNDS):
            got = list(pool.map(lambda body: _texts(body, ask(gateway, body)), asked))
            wrong = [number for number in range(CALLERS) if got[number] != expected[number]]
            if wrong:
                number = wrong[0]
                return Finding(
                    False,
                    f"{len(wrong)} of {CALLERS}: {expected[number]} became {got[number]}",
                )
    return Finding(True, f"{ROUNDS} rounds of {CALLERS} callers")


def _question(number: int) -> dict[str, Any]:
    """Every other one streamed, every third with two prompts."""
    prompt: str | list[str] = f"caller {number} of the gate"
    if number % 3 == 0:
        prompt = [f"caller {number}", f"second prompt of {number}"]
    body = {"prompt": prompt, "max_tokens": 10, "temperature": 0, "user": f"caller-{number}"}
    return body | ({"stream": True} if number % 2 else {})


def _texts(body: Mapping[str, Any], answer: Answer) -> list[str]:
    whole = answers.folded(answer) if body.get("stream") else answer.json()
    return [choice["text"] for choice in whole["choices"]]
