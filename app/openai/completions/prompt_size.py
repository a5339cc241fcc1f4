"""How many tokens a request's prompts are: at most (a bound, for money) and probably (an estimate).

Text counts by its length. A part that is not text (an image, a sound, a file) counts as a number of
tokens that the operator can set, by kind and detail, and never by its bytes: servers charge a
picture by its size in pixels, of which its bytes say nothing.
"""

from __future__ import annotations

from app.core.usage import estimate_bytes
from app.openai.completions.request import FIELDS, CompletionRequest, Prompt
from app.openai.message_size import MESSAGE_OVERHEAD, size_of, text_bytes

# What servers add of their own accord: a start token; a role and the marks of a message or part;
# the system prompt that a chat template brings along (gpt-oss adds 70 tokens, Llama 3.1 40).
_TEXT_OVERHEAD = 4
TEMPLATE_OVERHEAD = 128

# Members that no server puts into a prompt, or that are counted by themselves.
_NOT_IN_PROMPT = frozenset(FIELDS) - {"suffix"} | {"messages", "metadata"}
# Members that servers are known to put into the prompt.
_IN_PROMPT = frozenset({"suffix", "tools", "functions", "response_format", "documents"})


def prompt_bound(request: CompletionRequest) -> int:
    """The most tokens that a request's prompts can be: exact for ids, a token per byte for text.

    Every further member that is a text, a list or an object counts by its bytes with each prompt,
    because servers put tools, schemas and documents into it.
    """
    extra = sum(
        request.size_of(name)
        for name in request.document.keys() - _NOT_IN_PROMPT
        if type(request.document[name]) in (str, list, dict)
    )
    if request.messages is not None:
        size = size_of(request.messages, request.part_tokens)
        return size.text + size.parts + MESSAGE_OVERHEAD * (size.messages + 1) + extra
    return sum(map(_prompt_bound, request.prompts)) + extra * len(request.prompts)


def prompt_estimate(request: CompletionRequest) -> int:
    """The tokens that a request's prompts probably are: exact for ids, by rule of thumb for text."""
    present = _IN_PROMPT & request.document.keys()
    extra = sum(map(request.size_of, present)) if present else 0
    if request.messages is not None:
        size = size_of(request.messages, request.part_tokens)
        return estimate_bytes(size.text + extra) + size.parts
    prompts = request.prompts
    return sum(map(_prompt_estimate, prompts)) + estimate_bytes(extra) * len(prompts)


def _prompt_bound(prompt: Prompt) -> int:
    return text_bytes(prompt) + _TEXT_OVERHEAD if isinstance(prompt, str) else len(prompt)


def _prompt_estimate(prompt: Prompt) -> int:
    return estimate_bytes(text_bytes(prompt)) if isinstance(prompt, str) else len(prompt)
