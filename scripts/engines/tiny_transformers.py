"""Makes a Llama of 37,216 random weights, as a folder that transformers reads: ``tiny_transformers.py <folder>``.

Its alphabet is the 256 bytes, so that it can be told and can say anything; the
seed is fixed, so that it is the same each time. Nothing is fetched.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WIDTH, INNER, HEADS, LAYERS, CONTEXT = 32, 64, 4, 2, 512
SEED = 7
BEGIN, END, PAD = "<s>", "</s>", "<pad>"
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant: "


def write_tiny_model(folder: Path) -> None:
    """A half-written model never has the folder's name."""
    draft = folder.with_suffix(".new")
    shutil.rmtree(draft, ignore_errors=True)
    words = {text: number for number, text in enumerate([*sorted(pre_tokenizers.ByteLevel.alphabet()), BEGIN, END, PAD])}
    _tokenizer(words).save_pretrained(draft)
    _model(words).save_pretrained(draft)
    draft.rename(folder)


def _tokenizer(words: dict[str, int]) -> PreTrainedTokenizerFast:
    """One token a byte."""
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BEGIN, eos_token=END, pad_token=PAD, chat_template=TEMPLATE
    )


def _model(words: dict[str, int]) -> LlamaForCausalLM:
    torch.manual_seed(SEED)
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=len(words), hidden_size=WIDTH, intermediate_size=INNER, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, max_position_embeddings=CONTEXT,
        bos_token_id=words[BEGIN], eos_token_id=words[END], pad_token_id=words[PAD],
    ))


if __name__ == "__main__":
    write_tiny_model(Path(sys.argv[1]))
