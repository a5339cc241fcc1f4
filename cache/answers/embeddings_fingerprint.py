"""The fingerprint of embeddings. Inputs are never normalised: white space moves a vector too."""

from __future__ import annotations

from app.openai.embeddings.request import EmbeddingsRequest
from cache.answers.canonical_values import Defaults, member, string, token_ids
from cache.answers.fingerprint_form import FingerprintForm
from cache.answers.normalization import Level

# The vectors are kept in one form and given in the form asked for, so that does not count.
_LEFT_OUT = frozenset("model input stream stream_options user encoding_format".split())
_INPUT = string("input")
_DEFAULTS = Defaults({"dimensions": b"N"})


class EmbeddingsFingerprinter(FingerprintForm):
    """The fingerprints of embeddings: one an input."""

    def members(self, request: EmbeddingsRequest) -> bytes:
        pairs = _DEFAULTS.pairs.copy()
        for name, value in request.document.items():
            if name not in _LEFT_OUT:
                pairs[name] = _DEFAULTS.named(name, member(value, request.raw[name]))
        return _DEFAULTS.whole(pairs)

    def applied(self, request: EmbeddingsRequest) -> Level:  # noqa: ARG002 - for every request
        return "none"

    def inputs(
        self,
        request: EmbeddingsRequest,
        level: Level,  # noqa: ARG002 - nothing is normalised
    ) -> list[bytes]:
        return [
            _INPUT + (string(one) if isinstance(one, str) else token_ids(one))
            for one in request.inputs
        ]

    def before(self, request: EmbeddingsRequest) -> bytes:  # noqa: ARG002 - vectors have no near match
        return b""
