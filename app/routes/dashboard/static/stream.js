// Server-sent events of a completion, as they come.

// Gives the payload of each event; ends with the body, or at [DONE].
export async function* eventsOf(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      rest += decoder.decode(value, { stream: !done });
      const events = rest.split('\n\n');
      rest = events.pop();
      for (const event of events) {
        const data = event.split('\n').filter((line) => line.startsWith('data: ')).map((line) => line.slice(6)).join('\n');
        if (data === '[DONE]') return;
        if (data) yield JSON.parse(data);
      }
      if (done) return;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// The text that a whole answer or one chunk adds to each choice, by index.
export function textsOf(document) {
  return (document.choices || []).map((choice) => [
    choice.index || 0,
    choice.text ?? choice.delta?.content ?? choice.message?.content ?? '',
  ]);
}

// Tokens with the logarithms of their probabilities, in either shape.
export function tokensOf(document) {
  return (document.choices || []).flatMap((choice) => {
    const found = choice.logprobs;
    if (!found) return [];
    if (found.tokens) return found.tokens.map((token, at) => [token, found.token_logprobs?.[at]]);
    return (found.content || []).map((one) => [one.token, one.logprob]);
  });
}
