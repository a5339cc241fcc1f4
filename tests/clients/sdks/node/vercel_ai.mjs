// Vercel's `ai`: text, streams, tools in several steps, objects of a schema, and embeddings.
import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import {
  embed,
  embedMany,
  generateObject,
  generateText,
  stepCountIs,
  streamText,
  tool,
} from "ai";
import { z } from "zod";

const { GATEWAY_URL, GATEWAY_KEY: apiKey, GATEWAY_MODEL: name } = process.env;
const gateway = createOpenAICompatible({
  name: "headgate",
  baseURL: `${GATEWAY_URL}/v1`,
  apiKey,
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const model = gateway.chatModel(name);
const prompt = "Is it raining in Graz?";
const fixed = { model, seed: 7, maxRetries: 0 };

const plain = await generateText({ ...fixed, prompt });
assert.ok(plain.text);
assert.ok(plain.usage.outputTokens > 0);

const streamed = streamText({ ...fixed, prompt });
let text = "";
for await (const piece of streamed.textStream) text += piece;
assert.equal(text, plain.text);
assert.equal((await streamed.usage).outputTokens, plain.usage.outputTokens);
assert.equal(await streamed.finishReason, "stop");

for (const say of [generateText, streamText]) {
  const asked = [];
  const weather = tool({
    description: "The weather of a city",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => {
      asked.push(city);
      return "rain";
    },
  });
  const round = await say({ ...fixed, prompt, tools: { weather }, stopWhen: stepCountIs(3) });
  if (round.consumeStream) await round.consumeStream();
  assert.ok(await round.text);
  assert.equal((await round.steps).length, 2);
  assert.deepEqual(asked, ["simulated"]);
}

const schema = z.object({ city: z.string(), days: z.number() });
const made = await generateObject({ ...fixed, prompt, schema });
assert.deepEqual(Object.keys(made.object).sort(), ["city", "days"]);

const vectors = gateway.textEmbeddingModel(name);
const one = await embed({ model: vectors, value: "a", maxRetries: 0 });
assert.equal(one.embedding.length, 256);
const many = await embedMany({ model: vectors, values: ["a", "b", "a"], maxRetries: 0 });
assert.deepEqual(many.embeddings[0], one.embedding);
assert.equal(many.embeddings.length, 3);

await assert.rejects(
  generateText({ ...fixed, model: gateway.chatModel("no-such-model"), prompt }),
  (error) => error.statusCode === 404,
);
console.log("OK");
