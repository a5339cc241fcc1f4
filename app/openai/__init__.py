"""The wire contract of the OpenAI API, pure: requests, answers, chunks, the chat bridge, SSE framing."""
