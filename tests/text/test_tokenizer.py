"""Loading tokenizers, and what they say of single ids."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from dovetail.errors import CheckpointError, InvalidParameter
from dovetail.text.tokenizer import Tokenizer
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def saved(byte_level: Tokenizer, tmp_path: Path) -> Path:
    path = tmp_path / "tokenizer.json"
    byte_level._backend.save(str(path))
    return path


def test_a_model_may_have_more_ids_than_its_tokenizer(saved: Path) -> None:
    tokenizer = Tokenizer.load(saved, {}, vocab_size=100_000)
    assert tokenizer.decode(tokenizer.encode("Größe")) == "Größe"
    assert tokenizer.piece(99_999) == b""


def test_a_tokenizer_with_more_ids_than_the_model_is_refused(saved: Path) -> None:
    with pytest.raises(CheckpointError, match="belongs to another model"):
        Tokenizer.load(saved, {}, vocab_size=100)


def test_a_missing_or_damaged_tokenizer_is_named(saved: Path) -> None:
    with pytest.raises(CheckpointError, match="is missing"):
        Tokenizer.load(saved.parent / "none.json", {}, vocab_size=1000)
    saved.write_bytes(saved.read_bytes()[:200])
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        Tokenizer.load(saved, {}, vocab_size=1000)


def test_special_tokens_come_from_the_configuration(byte_level: Tokenizer) -> None:
    assert byte_level.special == {"eos_token": "<|end|>", "bos_token": "<|im_start|>"}


def test_pieces_are_the_bytes_of_a_token(byte_level: Tokenizer, sentencepiece: Tokenizer) -> None:
    ids = byte_level.encode(" 你")
    assert b"".join(map(byte_level.piece, ids)) == " 你".encode()
    byte, word = sentencepiece.id_of("<0xE4>"), sentencepiece.id_of("▁the")
    assert byte is not None and word is not None
    assert sentencepiece.piece(byte) == b"\xe4" and sentencepiece.piece_text(byte) is None
    assert sentencepiece.piece_text(word) == " the"


def test_a_lone_surrogate_is_no_text(byte_level: Tokenizer) -> None:
    with pytest.raises(InvalidParameter, match="surrogate"):
        byte_level.encode("a\ud800b")


@given(text=st.text(), special=st.booleans())
def test_ids_are_the_same_alone_and_in_a_batch(
    byte_level: Tokenizer, sentencepiece: Tokenizer, text: str, special: bool
) -> None:
    for tokenizer in (byte_level, sentencepiece):
        ids = tokenizer._backend.encode(text, add_special_tokens=special).ids
        assert tokenizer.encode(text, add_special_tokens=special) == ids


def test_other_threads_run_while_a_long_text_is_encoded(byte_level: Tokenizer) -> None:
    text = "The quick brown fox " * 100_000
    whole = []

    def work() -> None:
        start = time.perf_counter()
        byte_level.encode(text)
        whole.append(time.perf_counter() - start)

    worker = threading.Thread(target=work)
    last, longest = time.perf_counter(), 0.0
    worker.start()
    while worker.is_alive():
        now = time.perf_counter()
        last, longest = now, max(longest, now - last)
    assert longest < whole[0] / 2


def test_no_token_is_longer_than_the_longest(
    byte_level: Tokenizer, sentencepiece: Tokenizer
) -> None:
    for tokenizer in (byte_level, sentencepiece):
        ids = range(tokenizer.vocab_size)
        assert max(len(tokenizer.piece(i)) for i in ids) <= tokenizer.longest
