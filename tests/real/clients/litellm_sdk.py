"""litellm's SDK: plain, with ids, echo and logprobs, streamed, and a model that is not there."""

import os

import litellm  # type: ignore[import-not-found]  # in its own environment

litellm.telemetry = False
common = {
    "api_base": os.environ["GATEWAY_URL"] + "/v1",
    "api_key": os.environ["GATEWAY_KEY"],
    "max_tokens": 8,
    "temperature": 0,
    "num_retries": 0,
}
model = "text-completion-openai/" + os.environ["GATEWAY_MODEL"]

plain = litellm.text_completion(model=model, prompt="the gate", **common)
assert plain.choices[0].text, plain
assert plain.usage.completion_tokens > 0, plain

stream = litellm.text_completion(model=model, prompt="the gate", stream=True, **common)
text = "".join(chunk.choices[0].text or "" for chunk in stream if chunk.choices)
assert text == plain.choices[0].text, (text, plain.choices[0].text)

scored = litellm.text_completion(
    model=model, prompt=[5, 6, 7], echo=True, logprobs=1, extra_body={"top_k": 5}, **common
)
assert len(scored.choices[0].logprobs.token_logprobs) == 11, scored

try:
    litellm.text_completion(model="text-completion-openai/no-such-model", prompt="x", **common)
    raise AssertionError("an unknown model was answered")
except litellm.NotFoundError as error:
    said = str(error)
assert "no-such-model" in said, said
print("OK")
