"""The questions asked of each server twice, directly and through the gateway."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PROMPT = "the gate"
IDS = [40, 41, 42, 43, 44, 45]
FOURTEEN_STOPS = [
    "<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>",
    "<|repo_name|>", "<|file_sep|>", "<|im_start|>", "<|im_end|>", "\n\n\n", "/src/",
    "#- coding: utf-8", "```", "<EOT>",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Question:
    """One body. `instead` replaces it on the direct side where the gateway takes more."""

    name: str
    body: Mapping[str, Any]
    instead: Mapping[str, Any] | None = None

    @property
    def streamed(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def asks_usage(self) -> bool:
        return bool((self.body.get("stream_options") or {}).get("include_usage"))


GREEDY: dict[str, Any] = {"prompt": PROMPT, "max_tokens": 12, "temperature": 0}
SAMPLED = {"temperature": 1, "seed": 7}


def _question(name: str, **changes: Any) -> Question:
    return Question(name, {**GREEDY, **changes})


def _both_ways(name: str, **changes: Any) -> list[Question]:
    """The same question plain, streamed, and streamed with its usage."""
    return [
        _question(name, **changes),
        _question(f"{name}, streamed", **changes, stream=True),
        _question(
            f"{name}, streamed with usage",
            **changes,
            stream=True,
            stream_options={"include_usage": True},
        ),
    ]


QUESTIONS: tuple[Question, ...] = (
    *_both_ways("plain"),
    Question("only a prompt", {"prompt": PROMPT, "temperature": 0}),
    *_both_ways("echo", echo=True),
    *_both_ways("logprobs", logprobs=3),
    _question("logprobs 0", logprobs=0),
    *_both_ways("echo and logprobs", echo=True, logprobs=2),
    _question("scoring, nothing generated", echo=True, logprobs=1, max_tokens=0),
    _question("scoring, one token", echo=True, logprobs=1, max_tokens=1, seed=1234),
    *_both_ways("stop", stop="e", max_tokens=64),
    _question("stop list", stop=["\n", "e", "i"], max_tokens=64),
    _question("stop of 14", stop=[*FOURTEEN_STOPS[:13], "e"], max_tokens=64),
    _question("stop of more than the server takes", stop=[f"stop {n}" for n in range(40)]),
    _question("stop []", stop=[]),
    _question("batch of one", prompt=[PROMPT]),
    *_both_ways("batch", prompt=[PROMPT, "the keeper", "when it rains"]),
    _question("batch, echo and logprobs", prompt=[PROMPT, "the keeper"], echo=True, logprobs=1),
    *_both_ways("token ids", prompt=IDS),
    _question("one list of token ids", prompt=[IDS], echo=True, logprobs=1, max_tokens=1),
    *_both_ways("lists of token ids", prompt=[IDS, IDS[:3], IDS[2:]], echo=True, logprobs=1),
    *_both_ways("n", n=3, **SAMPLED),
    *_both_ways("batch and n", prompt=[PROMPT, "the keeper"], n=2, **SAMPLED),
    _question("best_of", n=1, best_of=2, **SAMPLED),
    *_both_ways("seed", **SAMPLED),
    _question("empty prompt", prompt=""),
    _question("unicode prompt", prompt="Zürich 漢字 🚰\u2028\n\t", echo=True),
    _question("long prompt", prompt="the gate and the keeper " * 60, logprobs=1),
    _question("many tokens", max_tokens=300, logprobs=1),
    _question("penalties", frequency_penalty=0.5, presence_penalty=-0.25, max_tokens=32),
    _question("logit_bias", logit_bias={"45": 100}),
    _question("suffix", suffix=" end"),
    _question("suffix null", suffix=None),
    _question("user", user="someone"),
    Question(
        "nulls, which vLLM refuses for n",
        GREEDY | dict.fromkeys(("n", "best_of", "seed", "logprobs", "logit_bias", "stop")),
        instead=GREEDY,
    ),
    _question("server's own members", top_k=3, min_p=0.05, repetition_penalty=1.1, max_tokens=32),
    _question("ignore_eos and token ids back", ignore_eos=True, return_token_ids=True),
    _question("unknown members", n_predict=5, keep_alive="5m", options={"num_ctx": 2048}),
    Question(
        "one user message as the prompt",
        {
            "messages": [{"role": "user", "content": PROMPT}],
            "max_tokens": 12,
            "temperature": 0,
        },
        instead=GREEDY,
    ),
)
