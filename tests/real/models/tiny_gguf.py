"""Write a two-layer llama as GGUF, about half a megabyte of seeded random weights.

Runs inside the llama-cpp-python environment: `python tiny_gguf.py FILE`. Nothing is downloaded.
"""

import sys
from pathlib import Path

import gguf  # type: ignore[import-not-found]  # not in the gateway's environment
import numpy as np  # type: ignore[import-not-found]  # nor this

SEED = 21
CONTEXT = 4096
WIDTH = 64
INNER = 128
LAYERS = 2
HEADS = 4
KEY_VALUE_HEADS = 2
MERGES = ["t h", "h e", "i n", "a n", "Ġ t", "Ġt he", "Ġ a", "Ġa n", "Ġan d", "in g", "e r"]
KEY_VALUE_WIDTH = WIDTH // HEADS * KEY_VALUE_HEADS


def byte_letters() -> list[str]:
    """GPT-2's printable letter for each of the 256 byte values."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = []
    shift = 0
    for byte in range(256):
        if byte in plain:
            letters.append(chr(byte))
        else:
            letters.append(chr(256 + shift))
            shift += 1
    return letters


def vocabulary() -> tuple[list[str], list[int]]:
    """All bytes, a few merges, and the two marks; with llama.cpp's kind of each."""
    normal = byte_letters() + [merge.replace(" ", "") for merge in MERGES]
    control = ["<s>", "</s>"]
    kinds = [gguf.TokenType.NORMAL] * len(normal) + [gguf.TokenType.CONTROL] * len(control)
    return normal + control, [int(kind) for kind in kinds]


def shapes(tokens: int) -> dict[str, tuple[int, ...]]:
    """Every tensor that llama.cpp's llama wants, as rows by columns."""
    wanted: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (tokens, WIDTH),
        "output_norm.weight": (WIDTH,),
        "output.weight": (tokens, WIDTH),
    }
    for layer in range(LAYERS):
        wanted |= {
            f"blk.{layer}.attn_norm.weight": (WIDTH,),
            f"blk.{layer}.attn_q.weight": (WIDTH, WIDTH),
            f"blk.{layer}.attn_k.weight": (KEY_VALUE_WIDTH, WIDTH),
            f"blk.{layer}.attn_v.weight": (KEY_VALUE_WIDTH, WIDTH),
            f"blk.{layer}.attn_output.weight": (WIDTH, WIDTH),
            f"blk.{layer}.ffn_norm.weight": (WIDTH,),
            f"blk.{layer}.ffn_gate.weight": (INNER, WIDTH),
            f"blk.{layer}.ffn_up.weight": (INNER, WIDTH),
            f"blk.{layer}.ffn_down.weight": (WIDTH, INNER),
        }
    return wanted


def main(file: Path) -> None:
    """Write header, vocabulary and weights."""
    random = np.random.default_rng(SEED)
    tokens, kinds = vocabulary()
    out = gguf.GGUFWriter(file, "llama")
    out.add_name("tiny")
    out.add_context_length(CONTEXT)
    out.add_embedding_length(WIDTH)
    out.add_block_count(LAYERS)
    out.add_feed_forward_length(INNER)
    out.add_head_count(HEADS)
    out.add_head_count_kv(KEY_VALUE_HEADS)
    out.add_rope_dimension_count(WIDTH // HEADS)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_vocab_size(len(tokens))
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("gpt-2")
    out.add_token_list(tokens)
    out.add_token_types(kinds)
    out.add_token_merges(MERGES)
    out.add_bos_token_id(tokens.index("<s>"))
    out.add_eos_token_id(tokens.index("</s>"))
    out.add_add_bos_token(False)
    for name, shape in shapes(len(tokens)).items():
        if len(shape) == 1:
            weights = np.ones(shape, dtype=np.float32)
        else:
            weights = random.normal(0.0, 0.25, shape).astype(np.float32)
        out.add_tensor(name, weights)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
