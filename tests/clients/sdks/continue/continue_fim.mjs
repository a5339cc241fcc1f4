// Continue's adapters: fimStream, as its autocomplete asks; chat and embeddings by the same adapter.
import assert from "node:assert/strict";
import { constructLlmApi } from "@continuedev/openai-adapters";

const api = constructLlmApi({
  provider: "openai",
  apiBase: `${process.env.GATEWAY_URL}/v1/`,
  apiKey: process.env.GATEWAY_KEY,
});
const model = process.env.GATEWAY_MODEL;
const signal = new AbortController().signal;

let filled = "";
const asked = { model, prompt: "def f(", suffix: "    return x", max_tokens: 20, stream: true };
for await (const chunk of api.fimStream(asked, signal)) {
  filled += chunk.choices[0].delta.content ?? "";
}
assert.ok(filled.length > 0);

const messages = [{ role: "user", content: "Is it raining?" }];
let said = "";
for await (const chunk of api.chatCompletionStream({ model, messages, stream: true }, signal)) {
  said += chunk.choices[0]?.delta?.content ?? "";
}
const plain = await api.chatCompletionNonStream({ model, messages, stream: false }, signal);
assert.equal(typeof plain.choices[0].message.content, "string");
assert.ok(said.length > 0);

const vectors = await api.embed({ model, input: ["a", "b"] });
assert.equal(vectors.data.length, 2);
console.log("OK");
process.exit(0);
