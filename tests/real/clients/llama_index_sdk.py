"""LlamaIndex's OpenAILike: plain, streamed, and a model that is not there."""

import os

from llama_index.llms.openai_like import OpenAILike  # type: ignore[import-not-found]  # its own env
from openai import NotFoundError


def model(name: str) -> OpenAILike:
    return OpenAILike(
        model=name,
        api_base=os.environ["GATEWAY_URL"] + "/v1",
        api_key=os.environ["GATEWAY_KEY"],
        is_chat_model=False,
        max_tokens=8,
        temperature=0,
        max_retries=0,
    )


gateway = model(os.environ["GATEWAY_MODEL"])
plain = gateway.complete("the gate")
assert plain.text, plain
*_, last = gateway.stream_complete("the gate")
assert last.text == plain.text, (last.text, plain.text)

try:
    model("no-such-model").complete("x")
    raise AssertionError("an unknown model was answered")
except NotFoundError as error:
    code = error.code
assert code == "model_not_found", code
print("OK")
