// openai-node: conversations with tools and schemas, streamed, pictures, and embeddings.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const { GATEWAY_URL, GATEWAY_KEY: apiKey, GATEWAY_MODEL: model } = process.env;
const client = new OpenAI({ baseURL: `${GATEWAY_URL}/v1`, apiKey, maxRetries: 0 });
const messages = [{ role: "user", content: "Is it raining in Graz?" }];
const seed = 7;

const plain = await client.chat.completions.create({ model, messages, seed });
assert.equal(plain.object, "chat.completion");
assert.ok(plain.choices[0].message.content);
assert.ok(plain.usage.completion_tokens > 0);

const stream = client.chat.completions.stream({
  model,
  messages,
  seed,
  stream_options: { include_usage: true },
});
let pieces = 0;
for await (const chunk of stream) pieces += chunk.choices.length;
const streamed = await stream.finalChatCompletion();
assert.ok(pieces > 2);
assert.equal(streamed.choices[0].message.content, plain.choices[0].message.content);
assert.equal(streamed.choices[0].message.role, "assistant");
assert.equal(streamed.usage.completion_tokens, plain.usage.completion_tokens);

// A whole round: the model calls, the function runs, the model answers.
const asked = [];
const runner = client.chat.completions.runTools({
  model,
  messages,
  seed,
  stream: true,
  tools: [
    {
      type: "function",
      function: {
        name: "weather",
        parameters: { type: "object", properties: { city: { type: "string" } } },
        parse: JSON.parse,
        function: async ({ city }) => {
          asked.push(city);
          return "rain";
        },
      },
    },
  ],
});
assert.ok(await runner.finalContent());
assert.deepEqual(asked, ["simulated"]);

const Weather = z.object({ city: z.string(), days: z.number() });
const parsed = await client.chat.completions.parse({
  model,
  messages,
  response_format: zodResponseFormat(Weather, "weather"),
});
assert.equal(parsed.choices[0].message.parsed.city, "simulated");

const picture = { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } };
const seen = await client.chat.completions.create({
  model,
  messages: [{ role: "user", content: [{ type: "text", text: "What is it?" }, picture] }],
  logprobs: true,
  top_logprobs: 2,
  max_completion_tokens: 3,
});
assert.equal(seen.choices[0].logprobs.content.length, 3);
assert.equal(seen.choices[0].finish_reason, "length");

// Asked without a form, this client wants base64, and unpacks it.
const vectors = await client.embeddings.create({ model, input: ["a", "b", "a"] });
assert.deepEqual(vectors.data.map((one) => one.embedding.length), [256, 256, 256]);
assert.deepEqual(vectors.data[0].embedding, vectors.data[2].embedding);

await assert.rejects(
  client.chat.completions.create({ model, messages, temperature: 3 }),
  (error) => error.constructor.name === "BadRequestError" && error.param === "temperature",
);
console.log("OK");
