"""The target that fills in the middle for a model, where that is another one than its own."""

from __future__ import annotations

from msgspec.structs import replace

from app.config.settings import Fim, Model, Target


def fim_target(model: Model) -> Model | None:
    """The model as requests with a ``suffix`` see it; None where they go to its own target."""
    fim = model.fim
    if not isinstance(fim, Fim) or fim.provider is None or fim.model is None:
        return None
    target = Target(provider=fim.provider, model=fim.model)
    return replace(model, targets=(target,), completions="native", fim=None)
