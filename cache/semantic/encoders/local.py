"""The local encoder: static word-piece vectors, averaged. No network, no accelerator.

The vectors come with the wheel of wordllama (MIT): a table of 32,000 word pieces by 256 numbers,
16 MiB, and the tokenizer of Llama 2. The package itself is never imported: importing it loads
pydantic and requests and configures the root logger, and its loader looks for the tokenizer in a
folder that its wheel does not have, so it fails without a network.

The author publishes the weights under MIT too. They were trained from the token embeddings of
Llama 2 70B and others of the same vocabulary, so Meta's Llama 2 Community License may reach them:
an operator for whom that matters asks a lawyer, or uses an encoder behind ``/v1/embeddings``.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

# Of UTF-8. The slowest text, letters unknown to the tokenizer, is a token a byte: about 1 ms, where
# the event loop may be held for 5. Sixty English words are 350 bytes.
MAX_BYTES = 1024

_WEIGHTS = "weights/l2_supercat_256.safetensors"
_TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
_TENSOR = "embedding.weight"


class EncoderUnavailable(Exception):
    """The encoder cannot be made here; the text says what to install."""


class LocalEncoder:
    """Encodes on the event loop: 0.07 ms for 20 words, 0.13 ms for 50, 1 ms at the most.

    Making one takes about 0.3 s and 60 MiB. Raises EncoderUnavailable where the extra `semantic`
    is not installed, or brings other files than these.
    """

    def __init__(self) -> None:
        folder = _installed()
        try:
            from safetensors.numpy import load  # noqa: PLC0415 - an extra, and numpy is heavy
            from tokenizers import Tokenizer  # noqa: PLC0415
        except ImportError as error:
            raise _missing(error.name or "wordllama") from error
        try:
            weights = (folder / _WEIGHTS).read_bytes()
            tokenizer = (folder / _TOKENIZER).read_bytes()
        except OSError as error:
            raise EncoderUnavailable(
                f"the installed wordllama has no {error.filename}; Headgate needs wordllama 0.4"
            ) from error
        # Halves as they are stored: as floats they would be 16 MiB more to save 0.02 ms.
        self._weights: NDArray[np.float16] = load(weights)[_TENSOR]
        self._tokenizer: Tokenizer = Tokenizer.from_buffer(tokenizer)
        # It would keep the last 10,000 prompts: memory, and nobody asked for their keeping.
        self._tokenizer.model._resize_cache(0)  # noqa: SLF001 - no public way after loading
        rows, self.dimensions = self._weights.shape
        if rows < self._tokenizer.get_vocab_size():
            raise EncoderUnavailable("the tokenizer of the installed wordllama is not its weights'")
        digest = hashlib.sha256(weights)
        digest.update(tokenizer)
        self.identity = f"wordllama-l2-{self.dimensions}@{digest.hexdigest()[:12]}"

    def encode(self, text: str) -> bytes | None:
        """A unit vector, float32 in little-endian order; None for a text of nothing or too much.

        Too much is over MAX_BYTES: such a text is answered without tier 2, never cut, since the
        part cut off may be what sets two prompts apart.
        """
        if len(text) > MAX_BYTES:
            return None
        try:
            if len(text.encode()) > MAX_BYTES:
                return None
        except UnicodeEncodeError:  # half of a surrogate pair: JSON can say it, UTF-8 cannot
            return None
        tokens = self._tokenizer.encode(text, add_special_tokens=False).ids
        if not tokens:
            return None
        # The sum points where the mean does, and only the direction stays.
        total = self._weights.take(tokens, axis=0).sum(axis=0, dtype="<f4")
        length = float(total.dot(total)) ** 0.5
        return (total / total.dtype.type(length)).tobytes() if length else None


def _installed() -> Path:
    """wordllama's folder, found without running a line of it."""
    found = importlib.util.find_spec("wordllama")
    if found is None or not found.submodule_search_locations:
        raise _missing("wordllama")
    return Path(found.submodule_search_locations[0])


def _missing(package: str) -> EncoderUnavailable:
    return EncoderUnavailable(
        f"the local encoder needs the package {package}: pip install 'headgate[semantic]'"
    )
