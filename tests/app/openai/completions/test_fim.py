"""The templates of fill-in-the-middle, as the models' makers document them."""

from __future__ import annotations

import pytest

from app.openai.completions.fim import TEMPLATES, FimTemplate, filled

BAR = "\uff5c"  # FULLWIDTH VERTICAL LINE


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("qwen", "<|fim_prefix|>A<|fim_suffix|>B<|fim_middle|>"),
        ("codellama", "<PRE> A <SUF>B <MID>"),
        ("starcoder", "<fim_prefix>A<fim_suffix>B<fim_middle>"),
        ("deepseek", f"<{BAR}fim▁begin{BAR}>A<{BAR}fim▁hole{BAR}>B<{BAR}fim▁end{BAR}>"),
        ("codestral", "[SUFFIX]B[PREFIX]A"),
    ],
)
def test_a_named_template_is_its_models(name, prompt):
    assert TEMPLATES[name].fill("A", "B") == prompt
    assert TEMPLATES[name].added == len(prompt.encode()) - 2


def test_each_prompt_of_a_batch_is_filled_and_token_ids_cannot_be():
    template = FimTemplate("<", "|", ">")
    assert filled(template, "a", "z") == "<a|z>"
    assert filled(template, ["a", "b"], "z") == ["<a|z>", "<b|z>"]
    assert filled(template, [1, 2], "z") is None
    assert filled(template, [[1], [2]], "z") is None
