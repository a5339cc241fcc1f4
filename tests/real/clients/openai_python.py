"""openai-python (2.x and 3.x): plain, streamed, several prompts, and a model that is not there."""

import os

from openai import NotFoundError, OpenAI

client = OpenAI(base_url=os.environ["GATEWAY_URL"] + "/v1", api_key=os.environ["GATEWAY_KEY"])
model = os.environ["GATEWAY_MODEL"]

plain = client.completions.create(model=model, prompt="the gate", max_tokens=8, temperature=0)
assert plain.object == "text_completion", plain
assert plain.choices[0].text, plain
assert plain.choices[0].finish_reason in {"stop", "length"}, plain
assert plain.usage is not None, plain
assert plain.usage.completion_tokens > 0, plain

stream = client.completions.create(
    model=model,
    prompt="the gate",
    max_tokens=8,
    temperature=0,
    stream=True,
    stream_options={"include_usage": True},
)
chunks = list(stream)
text = "".join(choice.text for chunk in chunks for choice in chunk.choices)
assert text == plain.choices[0].text, (text, plain.choices[0].text)
assert chunks[-1].choices == [], chunks[-1]
assert chunks[-1].usage == plain.usage, chunks[-1]

several = client.completions.create(
    model=model, prompt=["one", "two"], n=2, max_tokens=4, temperature=1, seed=3, logprobs=2
)
assert [choice.index for choice in several.choices] == [0, 1, 2, 3], several
assert all(choice.logprobs for choice in several.choices), several

raw = client.completions.with_raw_response.create(model=model, prompt=[1, 2, 3], max_tokens=1)
assert raw.parse().choices[0].text is not None

try:
    client.completions.create(model="no-such-model", prompt="x", max_tokens=1)
    raise AssertionError("an unknown model was answered")
except NotFoundError as error:
    code = error.code
assert code == "model_not_found", code
print("OK")
