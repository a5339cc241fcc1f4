"""Fill-in-the-middle for models whose server has no ``suffix``: the model's own template. Pure.

Sources: the models' cards and papers: Qwen2.5-Coder, Code Llama (arXiv 2308.12950, section 2.3),
StarCoder2 (arXiv 2402.19173), DeepSeek-Coder (arXiv 2401.14196), Codestral's tokenizer.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class FimTemplate(NamedTuple):
    """The marks before the code before the gap, before the code after it, and where the middle goes.

    ``suffix_first``: the code after the gap stands before the code before it.
    """

    prefix: str
    suffix: str
    middle: str
    suffix_first: bool = False

    def fill(self, before: str, after: str) -> str:
        """The prompt that has the model write what belongs between."""
        if self.suffix_first:
            return f"{self.suffix}{after}{self.prefix}{before}{self.middle}"
        return f"{self.prefix}{before}{self.suffix}{after}{self.middle}"

    @property
    def added(self) -> int:
        """The bytes that it adds: at most as many tokens."""
        return len(f"{self.prefix}{self.suffix}{self.middle}".encode())


TEMPLATES = {
    "qwen": FimTemplate("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    "codellama": FimTemplate("<PRE> ", " <SUF>", " <MID>"),
    "starcoder": FimTemplate("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    "deepseek": FimTemplate(
        "<\uff5cfim\u2581begin\uff5c>", "<\uff5cfim\u2581hole\uff5c>", "<\uff5cfim\u2581end\uff5c>"
    ),
    "codestral": FimTemplate("[PREFIX]", "[SUFFIX]", "", suffix_first=True),
}


def filled(template: FimTemplate, prompt: Any, suffix: str) -> Any:
    """A request's prompt, or each of a batch, as the template writes it. Token ids are None."""
    if isinstance(prompt, str):
        return template.fill(prompt, suffix)
    if all(isinstance(one, str) for one in prompt):
        return [template.fill(one, suffix) for one in prompt]
    return None
