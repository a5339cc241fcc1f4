"""Write a two-layer llama with seeded random weights and its own tokenizer.

Runs inside the vLLM environment: `python tiny_hf.py FOLDER`. Nothing is downloaded.
"""

import sys
from pathlib import Path

import torch  # type: ignore[import-not-found]  # not in the gateway's environment
from tokenizers import ByteLevelBPETokenizer  # type: ignore[import-not-found]  # nor this
from transformers import (  # type: ignore[import-not-found]  # nor this
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

SEED = 20
CONTEXT = 4096
TEXT = [
    "A headgate stands where the river enters the canal and decides how much may pass.",
    "When the field is dry the keeper lifts the gate, and when it rains he lowers it again.",
    "def open_gate(level: int) -> bool:\n    return level < 7\n",
    "Zürich, naïve, 漢字 and emoji 🚰 are text as well; numbers 0 1 2 3 4 5 6 7 8 9 too.",
]
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE, so that every string has ids and comes back unchanged."""
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        TEXT * 4, vocab_size=384, min_frequency=2, special_tokens=["<s>", "</s>"]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=trained._tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=CONTEXT,
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def model(vocabulary: int) -> LlamaForCausalLM:
    """Weights wide enough that the likeliest token leads clearly."""
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=CONTEXT,
        initializer_range=0.2,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=1,
    )
    return LlamaForCausalLM(config).to(torch.float32)


def main(folder: Path) -> None:
    """Write both parts into one folder, as a model hub would lay them out."""
    words = tokenizer()
    for text in TEXT:
        if words.decode(words.encode(text)) != text:
            raise SystemExit(f"the tokenizer does not give back {text!r}")
    words.save_pretrained(folder)
    model(len(words)).save_pretrained(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
