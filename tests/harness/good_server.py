"""What a scripted upstream says where nothing else is scripted: a good OpenAI-compatible server."""

from __future__ import annotations

from typing import Any

from tests.harness.exchange import Request, Wire


async def good_server(request: Request, wire: Wire) -> None:
    """Answers as an OpenAI-compatible server does; the text names the prompt and the choice.

    It embeds every text alike, so that nothing but the gateway's own rules keeps texts apart.
    """
    if request.target.endswith("/embeddings"):
        await embed(request, wire, [1.0, 2.0, 3.0])
        return
    document = request.document
    reply = Answer(document, chat=request.target.endswith("/chat/completions"))
    if not document.get("stream"):
        await wire.answer(reply.whole())
        return
    await wire.begin_stream()
    for chunk in reply.chunks():
        await wire.event(chunk)
    await wire.event(b"[DONE]")
    await wire.end_stream()


async def embed(request: Request, wire: Wire, vector: list[float]) -> None:
    """One text's embedding."""
    item = {"object": "embedding", "index": 0, "embedding": vector}
    usage = {"prompt_tokens": 3, "total_tokens": 3}
    await wire.answer({"object": "list", "data": [item], "model": "e", "usage": usage})


def words_of(prompt: Any, number: int) -> list[str]:
    """The tokens that `good_server` answers a prompt with, in its choice ``number``."""
    label = prompt if isinstance(prompt, str) else "-".join(map(str, prompt))
    return ["Re", f" <{label}>", f" {number}"]


def text_of(prompt: Any, number: int = 0) -> str:
    return "".join(words_of(prompt, number))


class Answer:
    """What a good server says to one request, whole or in chunks."""

    def __init__(self, document: dict[str, Any], chat: bool) -> None:
        self._document = document
        self._chat = chat
        self._n = int(document.get("n") or 1)
        if chat:
            self._prompts: list[Any] = ["".join(map(_said, document["messages"]))]
        else:
            prompt = document["prompt"]
            single = isinstance(prompt, str) or (prompt and isinstance(prompt[0], int))
            self._prompts = [prompt] if single else prompt

    def whole(self) -> dict[str, Any]:
        kind = "chat.completion" if self._chat else "text_completion"
        choices = []
        for index, words in enumerate(self._choices()):
            body = {"index": index, "finish_reason": "stop", "logprobs": self._logprobs(words, 0)}
            text = "".join(words)
            if self._chat:
                body["message"] = {"role": "assistant", "content": text}
            else:
                body["text"] = text
            choices.append(body)
        return {**self._envelope(kind), "choices": choices, "usage": self.usage()}

    def chunks(self) -> list[dict[str, Any]]:
        kind = "chat.completion.chunk" if self._chat else "text_completion"
        envelope = self._envelope(kind)
        options = self._document.get("stream_options") or {}
        if options.get("include_usage"):
            envelope["usage"] = None
        choices = self._choices()
        chunks = []
        if self._chat:
            for index in range(len(choices)):
                chunks += [self._chunk(envelope, index, "", None, None, role=True)]
        offsets = [0] * len(choices)
        for place in range(max(map(len, choices)) + 1):
            for index, words in enumerate(choices):
                if place < len(words):
                    word = words[place]
                    logprobs = self._logprobs([word], offsets[index])
                    offsets[index] += len(word)
                    chunks.append(self._chunk(envelope, index, word, logprobs, None))
                elif place == len(words):
                    chunks.append(self._chunk(envelope, index, "", None, "stop"))
        if options.get("include_usage"):
            chunks.append({**envelope, "choices": [], "usage": self.usage()})
        return chunks

    def usage(self) -> dict[str, int]:
        prompt = sum(len(p.split() if isinstance(p, str) else p) for p in self._prompts)
        completion = 3 * len(self._prompts) * self._n
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }

    def _choices(self) -> list[list[str]]:
        echo = self._document.get("echo") and not self._chat
        return [
            ([str(prompt)] if echo else []) + words_of(prompt, number)
            for prompt in self._prompts
            for number in range(self._n)
        ]

    def _envelope(self, kind: str) -> dict[str, Any]:
        prefix = "chatcmpl" if self._chat else "cmpl"
        return {
            "id": f"{prefix}-7",
            "object": kind,
            "created": 1700000000,
            "model": self._document["model"],
        }

    def _chunk(
        self,
        envelope: dict[str, Any],
        index: int,
        text: str,
        logprobs: Any,
        reason: str | None,
        role: bool = False,
    ) -> dict[str, Any]:
        choice = {"index": index, "logprobs": logprobs, "finish_reason": reason}
        if not self._chat:
            return {**envelope, "choices": [{**choice, "text": text}]}
        delta: dict[str, Any] = {"role": "assistant", "content": ""} if role else {}
        if text:
            delta["content"] = text
        return {**envelope, "choices": [{**choice, "delta": delta}]}

    def _logprobs(self, words: list[str], offset: int) -> Any:
        asked = self._document.get("logprobs")
        if asked is None or asked is False:
            return None
        if self._chat:
            top = int(self._document.get("top_logprobs") or 0)
            return {
                "content": [
                    {
                        "token": word,
                        "logprob": -0.25,
                        "bytes": list(word.encode()),
                        "top_logprobs": [
                            {"token": word if k == 0 else f"{word}{k}", "logprob": -0.25 - k}
                            for k in range(top)
                        ],
                    }
                    for word in words
                ]
            }
        offsets = []
        for word in words:
            offsets.append(offset)
            offset += len(word)
        return {
            "tokens": words,
            "token_logprobs": [-0.25] * len(words),
            "top_logprobs": [
                {word if k == 0 else f"{word}{k}": -0.25 - k for k in range(asked)}
                for word in words
            ],
            "text_offset": offsets,
        }


def _said(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""
