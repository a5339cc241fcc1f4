// portkey-ai for Node: a config of the caller's own, one by its id, streams, completions.
import assert from "node:assert/strict";
import { Portkey } from "portkey-ai";

const { GATEWAY_URL, GATEWAY_KEY: apiKey } = process.env;
const client = (settings) => new Portkey({ apiKey, baseURL: `${GATEWAY_URL}/v1`, ...settings });
const messages = [{ role: "user", content: "Is it raining in Graz?" }];
const fallback = {
  strategy: { mode: "fallback" },
  targets: ["a", "b"].map((model) => ({ provider: "openai", override_params: { model } })),
};

let plain;
for (const config of [fallback, "pc-known"]) {
  plain = await client({ config }).chat.completions.create({ model: "m0", messages });
  assert.ok(plain.choices[0].message.content.includes("Graz"));
  assert.ok(plain.usage.completion_tokens > 0);
}

const stream = await client({ config: fallback, metadata: { plan: "free" } }).chat.completions.create({
  model: "m0",
  messages,
  stream: true,
});
let said = "";
let pieces = 0;
for await (const chunk of stream) {
  pieces += 1;
  said += chunk.choices[0]?.delta?.content ?? "";
}
assert.equal(said, plain.choices[0].message.content);
assert.ok(pieces > 2);

const text = await client({ provider: "openai" }).completions.create({ model: "b", prompt: "Hello" });
assert.ok(text.choices[0].text.includes("Hello"));

const own = { provider: "openai", api_key: "sk-my-own" };
await assert.rejects(
  client({ config: own }).completions.create({ model: "m0", prompt: "Hello" }),
  /config\.api_key/,
);
console.log("OK");
