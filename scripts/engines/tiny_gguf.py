"""Makes a Llama of 115,392 random weights, as a file that llama.cpp reads: ``tiny_gguf.py <file>``.

Its alphabet is the 256 bytes, so that it can be told and can say anything; the
seed is fixed, so that it says the same each time. Nothing is fetched.
"""

from __future__ import annotations

import sys
from pathlib import Path

import gguf
import numpy as np

WIDTH, INNER, HEADS, LAYERS, CONTEXT = 64, 128, 4, 2, 4096
SEED = 7
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant: "


def write_tiny_model(path: Path) -> None:
    """A half-written file never has the model's name."""
    draft = path.with_suffix(".new")
    writer = gguf.GGUFWriter(str(draft), "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    size = _add_tokenizer(writer)
    _add_weights(writer, size)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    draft.replace(path)


def _add_tokenizer(writer: gguf.GGUFWriter) -> int:
    """One token a byte; the reader of the file insists on at least one merge."""
    tokens = [*_byte_characters(), "he", "<s>", "</s>"]
    kinds = [gguf.TokenType.NORMAL] * (len(tokens) - 2) + [gguf.TokenType.CONTROL] * 2
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(["h e"])
    writer.add_bos_token_id(len(tokens) - 2)
    writer.add_eos_token_id(len(tokens) - 1)
    writer.add_chat_template(TEMPLATE)
    return len(tokens)


def _byte_characters() -> list[str]:
    """GPT-2's letters for bytes: printable ones stand for themselves, the rest from 256 on."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def _add_weights(writer: gguf.GGUFWriter, size: int) -> None:
    dice = np.random.default_rng(SEED)

    def random(name: str, *shape: int) -> None:
        writer.add_tensor(f"{name}.weight", dice.normal(0, 0.05, shape).astype(np.float32))

    def ones(name: str) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))

    random("token_embd", size, WIDTH)
    ones("output_norm")
    random("output", size, WIDTH)
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        ones(f"{block}.attn_norm")
        ones(f"{block}.ffn_norm")
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            random(f"{block}.{name}", WIDTH, WIDTH)
        random(f"{block}.ffn_gate", INNER, WIDTH)
        random(f"{block}.ffn_up", INNER, WIDTH)
        random(f"{block}.ffn_down", WIDTH, INNER)


if __name__ == "__main__":
    write_tiny_model(Path(sys.argv[1]))
