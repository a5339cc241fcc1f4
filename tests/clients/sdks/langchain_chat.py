"""langchain-openai: ChatOpenAI plain, streamed, with tools and a schema; embeddings."""

import os
from typing import Any

from langchain_core.tools import tool  # type: ignore[import-not-found]  # in a folder of its own
from langchain_openai import ChatOpenAI, OpenAIEmbeddings  # type: ignore[import-not-found]
from openai import BadRequestError
from pydantic import BaseModel

PLACE: dict[str, Any] = {
    "base_url": os.environ["GATEWAY_URL"] + "/v1",
    "api_key": os.environ["GATEWAY_KEY"],
    "model": os.environ["GATEWAY_MODEL"],
    "max_retries": 0,
}


class Weather(BaseModel):
    city: str
    days: int


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"rain in {city}"


chat = ChatOpenAI(**PLACE, seed=7, stream_usage=True)
plain = chat.invoke("Is it raining?")
assert plain.content
assert plain.usage_metadata["output_tokens"] > 0, plain
streamed = None
for piece in chat.stream("Is it raining?"):
    streamed = piece if streamed is None else streamed + piece
assert streamed is not None
assert streamed.content == plain.content
assert streamed.usage_metadata == plain.usage_metadata
assert len(chat.batch(["one", "two", "three"])) == 3

handy = chat.bind_tools([weather])
called = None
for piece in handy.stream("Is it raining?"):
    called = piece if called is None else called + piece
assert called is not None
for message in (called, handy.invoke("Is it raining?")):
    assert [call["name"] for call in message.tool_calls] == ["weather"]
    assert message.tool_calls[0]["args"] == {"city": "simulated"}
said = weather.invoke(called.tool_calls[0])
assert handy.invoke([("user", "Is it raining?"), called, said]).content

made = chat.with_structured_output(Weather).invoke("What is the weather?")
assert made == Weather(city="simulated", days=7), made

embeddings = OpenAIEmbeddings(**PLACE)  # it sends token ids of its own tokenizer, if it has one
embeddings.check_embedding_ctx_length = False
vectors = embeddings.embed_documents(["a", "b", "a"])
assert [len(vector) for vector in vectors] == [256, 256, 256]
assert vectors[0] == vectors[2] == embeddings.embed_query("a")

try:
    ChatOpenAI(**PLACE, temperature=2.5).invoke("x")
    raise AssertionError("a temperature of 2.5 was taken")
except BadRequestError as error:
    param = error.param
assert param == "temperature", param
print("OK")
