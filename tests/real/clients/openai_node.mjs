// openai-node: plain, streamed, and a model that is not there.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.cwd(), "package.json"));
const OpenAI = require("openai").default ?? require("openai");

const { GATEWAY_URL, GATEWAY_KEY: apiKey, GATEWAY_MODEL: model } = process.env;
const client = new OpenAI({ baseURL: `${GATEWAY_URL}/v1`, apiKey });
const asked = { model, prompt: "the gate", max_tokens: 8, temperature: 0 };

const plain = await client.completions.create(asked);
assert.equal(plain.object, "text_completion");
assert.ok(plain.choices[0].text);
assert.ok(plain.usage.completion_tokens > 0);

let text = "";
let usage = null;
const stream = await client.completions.create({
  ...asked,
  stream: true,
  stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  text += chunk.choices[0]?.text ?? "";
  usage = chunk.usage ?? usage;
}
assert.equal(text, plain.choices[0].text);
assert.equal(usage.completion_tokens, plain.usage.completion_tokens);

await assert.rejects(
  client.completions.create({ ...asked, model: "no-such-model" }),
  (error) => {
    assert.equal(error.constructor.name, "NotFoundError");
    assert.equal(error.code, "model_not_found");
    assert.ok(error.requestID);
    return true;
  },
);
await assert.rejects(
  new OpenAI({ baseURL: `${GATEWAY_URL}/v1`, apiKey: "wrong" }).completions.create(asked),
  (error) => error.constructor.name === "AuthenticationError" && error.status === 401,
);
console.log("OK");
