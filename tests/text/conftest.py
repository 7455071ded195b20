"""Small tokenizers of the kinds that models come with."""

from __future__ import annotations

import pytest
import tokenizers
from dovetail.text.tokenizer import Tokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

TEXT = "The quick brown fox jumps over the lazy dog. Größe, naïve, 你好世界, 😀🎉. one two three"


@pytest.fixture(scope="session")
def byte_level() -> Tokenizer:
    """As GPT-2, Llama 3 and Qwen: every byte is a token."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=["<|end|>", "<|im_start|>", "<tool_call>", "</tool_call>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([TEXT] * 10, trainer)
    return Tokenizer(backend, {"eos_token": "<|end|>", "bos_token": {"content": "<|im_start|>"}})


@pytest.fixture(scope="session")
def sentencepiece() -> Tokenizer:
    """As Llama 2 and Mistral: words with a leading mark, bytes as a fallback."""
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2}
    for byte in range(256):
        vocab[f"<0x{byte:02X}>"] = len(vocab)
    for piece in ["▁", *"abcdefghijklmnopqrstuvwxyzTé", "▁the", "▁quick", "he", "▁he"]:
        vocab.setdefault(piece, len(vocab))
    merges = [("h", "e"), ("▁", "he")]
    backend = tokenizers.Tokenizer(
        models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    backend.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    backend.add_special_tokens(["<unk>", "<s>", "</s>"])
    return Tokenizer(backend, {"eos_token": "</s>"})
