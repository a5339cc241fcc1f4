"""One question, asked directly and through the gateway: are the answers equal?"""

from collections.abc import Sequence

from tests.real import answers, promises
from tests.real.matrix import Question
from tests.real.report import Finding
from tests.real.servers import Endpoint
from tests.real.wire import Answer, ask

OK = 200
UPSTREAM_FAILED = 500
OPERATORS_PROBLEM = {401, 403}


def compare(question: Question, server: Endpoint, gateway: Endpoint | None) -> Finding:
    """Equal answers pass; so does the server's own refusal, handed on in the gateway's envelope."""
    body = question.instead or question.body
    ask(server, body)  # a prompt that the server has in its cache gives other last digits
    direct = ask(server, body)
    if gateway is None:
        return Finding(direct.status == OK, f"directly {direct.status}")
    through = ask(gateway, question.body)
    if direct.status != OK:
        return refusals(direct, through)
    if through.status != OK:
        return Finding(False, f"{through.status} through the gateway: {through.body[:300]!r}")
    if question.streamed:
        return _streams(question, direct, through)
    return _plain(direct, through)


def _plain(direct: Answer, through: Answer) -> Finding:
    broken = promises.of_a_plain_answer(through)
    found = answers.difference(answers.plain(direct), answers.plain(through))
    return _finding([found, *broken], "")


def _streams(question: Question, direct: Answer, through: Answer) -> Finding:
    broken = promises.of_a_stream(through, usage=question.asks_usage)
    one, other = answers.folded(direct), answers.folded(through)
    note = ""
    if one["usage"] is None and question.asks_usage:
        note = "the server sends no usage; the gateway counted"
        one["usage"] = other["usage"]
    return _finding([answers.difference(one, other), *broken], note)


def refusals(direct: Answer, through: Answer) -> Finding:
    """A 4xx keeps its status; what the server broke on is a 502 or 503."""
    if direct.status >= UPSTREAM_FAILED:
        wanted = through.status if through.status in {502, 503} else 502
    else:
        wanted = 502 if direct.status in OPERATORS_PROBLEM else direct.status
    broken = promises.of_an_error(through, wanted)
    note = f"the server itself refuses: {direct.status}"
    if through.status != direct.status:
        note += f", {through.status} through the gateway"
    return _finding(broken, note)


def _finding(problems: Sequence[str | None], note: str) -> Finding:
    real = [problem for problem in problems if problem]
    return Finding(not real, "; ".join(real) if real else note)
