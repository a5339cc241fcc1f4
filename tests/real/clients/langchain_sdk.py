"""langchain-openai: one prompt, several in one body, streamed, and a model that is not there."""

import os

from langchain_openai import OpenAI  # type: ignore[import-not-found]  # in its own environment
from openai import NotFoundError


def chain(model: str, **more: object) -> OpenAI:
    return OpenAI(
        base_url=os.environ["GATEWAY_URL"] + "/v1",
        api_key=os.environ["GATEWAY_KEY"],
        model=model,
        max_tokens=8,
        temperature=0,
        **more,
    )


gateway = chain(os.environ["GATEWAY_MODEL"])
plain = gateway.invoke("the gate")
assert plain, "no text"
assert "".join(gateway.stream("the gate")) == plain
both = gateway.generate(["the gate", "the keeper"])
assert [len(generations) for generations in both.generations] == [1, 1], both
assert both.generations[0][0].text == plain, both
assert both.llm_output["token_usage"]["completion_tokens"] > 0, both
assert len(gateway.batch(["one", "two", "three"])) == 3

try:
    chain("no-such-model", max_retries=0).invoke("x")
    raise AssertionError("an unknown model was answered")
except NotFoundError as error:
    code = error.code
assert code == "model_not_found", code
print("OK")
