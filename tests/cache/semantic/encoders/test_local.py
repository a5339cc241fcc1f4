"""The local encoder: what its vectors are, what it refuses, what it costs."""

import random
import subprocess
import sys
import time
from array import array
from importlib.util import find_spec

import pytest

from cache.semantic.encoders import local
from cache.semantic.encoders.local import MAX_BYTES, EncoderUnavailable, LocalEncoder

needs_extra = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("wordllama", "tokenizers", "safetensors", "numpy")),
    reason="the extra semantic is not installed",
)


@pytest.fixture(scope="module")
def encoder() -> LocalEncoder:
    return LocalEncoder()


def _cosine(encoder: LocalEncoder, a: str, b: str) -> float:
    left, right = (_numbers(encoder.encode(text)) for text in (a, b))
    return sum(x * y for x, y in zip(left, right, strict=True))


def _numbers(vector: bytes | None) -> "array[float]":
    assert vector is not None
    found = array("f", vector)
    if sys.byteorder == "big":
        found.byteswap()
    return found


@needs_extra
def test_a_vector_has_the_length_one_and_the_dimensions_that_it_says(encoder: LocalEncoder) -> None:
    vector = _numbers(encoder.encode("How do I cook rice?"))
    assert len(vector) == encoder.dimensions == 256
    assert sum(x * x for x in vector) == pytest.approx(1, abs=1e-6)


@needs_extra
def test_the_vectors_are_those_of_wordllama(encoder: LocalEncoder) -> None:
    """The mean of the pieces' rows, no special token in front: as wordllama's own `embed`."""
    numpy = pytest.importorskip("numpy")
    safe_open = pytest.importorskip("safetensors").safe_open
    tokenizers = pytest.importorskip("tokenizers")
    folder = local._installed()
    with safe_open(folder / local._WEIGHTS, framework="np") as file:
        table = file.get_tensor(local._TENSOR).astype(numpy.float32)
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / local._TOKENIZER))
    for text in ("How do I cook rice?", "  two  spaces ", "Größe 4,5 €", "日本語", "x"):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        mean = table[ids].mean(axis=0)
        expected = mean / numpy.linalg.norm(mean)
        assert _numbers(encoder.encode(text)) == pytest.approx(expected.tolist(), abs=1e-5)


@needs_extra
def test_alike_is_nearer_than_unlike(encoder: LocalEncoder) -> None:
    alike = _cosine(encoder, "How do I cook rice?", "how to cook rice")
    unlike = _cosine(encoder, "How do I cook rice?", "Who wrote this opera?")
    assert alike > 0.8
    assert unlike < 0.4


@needs_extra
def test_the_same_text_has_the_same_bytes_in_every_process(encoder: LocalEncoder) -> None:
    program = (
        "from cache.semantic.encoders.local import LocalEncoder as E; e = E();"
        "print(e.identity, e.encode('How do I cook rice?').hex())"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    vector = encoder.encode("How do I cook rice?")
    assert vector is not None
    assert said.stdout.split() == [encoder.identity, vector.hex()]


@needs_extra
def test_the_identity_names_the_files_it_came_from(encoder: LocalEncoder) -> None:
    name, _, digest = encoder.identity.partition("@")
    assert name == "wordllama-l2-256"
    assert len(bytes.fromhex(digest)) == 6


@needs_extra
@pytest.mark.parametrize(
    "text",
    ["", "x" * (MAX_BYTES + 1), "é" * (MAX_BYTES // 2 + 1), "half a pair \ud800"],
    ids=["empty", "long", "long in bytes", "not UTF-8"],
)
def test_what_it_cannot_say_whole_it_does_not_say(encoder: LocalEncoder, text: str) -> None:
    assert encoder.encode(text) is None


@needs_extra
@pytest.mark.parametrize(
    "text",
    [
        "a" * MAX_BYTES,
        "\U0001f600" * (MAX_BYTES // 4),
        "\U00020001" * (MAX_BYTES // 4),
        "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz", k=MAX_BYTES)),
        " " * MAX_BYTES,
        "word " * (MAX_BYTES // 5),
    ],
    ids=["one letter", "emoji", "unknown letters", "no words", "spaces", "words"],
)
def test_no_text_holds_the_event_loop_for_five_milliseconds(
    encoder: LocalEncoder, text: str
) -> None:
    taken = []
    for _ in range(10):
        began = time.thread_time()
        assert encoder.encode(text) is not None
        taken.append(time.thread_time() - began)
    assert min(taken) < 0.005


@needs_extra
def test_wordllama_itself_is_never_imported() -> None:
    program = (
        "import sys; from cache.semantic.encoders.local import LocalEncoder as E; E().encode('a text');"
        "print(*{'wordllama', 'huggingface_hub', 'requests', 'pydantic'} & set(sys.modules))"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stdout.strip()) == (0, "")


def test_nothing_heavy_is_imported_before_an_encoder_is_made() -> None:
    program = (
        "import sys, cache.semantic.encoders.local;"
        "print(*{'numpy', 'tokenizers', 'safetensors', 'wordllama'} & set(sys.modules))"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stdout.strip()) == (0, "")


@pytest.mark.parametrize("package", ["wordllama", "tokenizers", "safetensors.numpy"])
def test_a_missing_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    if package == "wordllama":
        monkeypatch.setattr(local.importlib.util, "find_spec", lambda name: None)
    else:
        monkeypatch.setattr(local, "_installed", lambda: None)
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(EncoderUnavailable, match=r"pip install 'headgate\[semantic\]'"):
        LocalEncoder()


@needs_extra
def test_another_wheel_of_wordllama_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(local, "_installed", lambda: tmp_path)
    with pytest.raises(EncoderUnavailable, match=r"wordllama 0\.4"):
        LocalEncoder()
