"""Pieces of text that come with their tokens join to the text of the whole."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from dovetail.text.decoding import REPLACEMENT, IncrementalDecoder
from dovetail.text.tokenizer import Tokenizer
from hypothesis import given
from hypothesis import strategies as st

cuts = st.lists(st.integers(1, 4), max_size=60)


@pytest.fixture(scope="module", params=["byte_level", "sentencepiece"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    found: Tokenizer = request.getfixturevalue(request.param)
    return found


def pieces(decoder: IncrementalDecoder, ids: Sequence[int], sizes: Sequence[int]) -> list[str]:
    out, at = [], 0
    for size in [*sizes, *[1] * len(ids)]:
        if at < len(ids):
            out.append(decoder.push(ids[at : at + size]))
            at += size
    return [*out, decoder.flush()]


@given(text=st.text(), sizes=cuts)
def test_pieces_join_to_the_whole(tokenizer: Tokenizer, text: str, sizes: list[int]) -> None:
    ids = tokenizer.encode(text)
    joined = "".join(pieces(tokenizer.decoder(), ids, sizes))
    assert joined == tokenizer.decode(ids)


@given(text=st.text(), sizes=cuts)
def test_no_piece_holds_half_a_character(tokenizer: Tokenizer, text: str, sizes: list[int]) -> None:
    text = text.replace(REPLACEMENT, "")
    for piece in pieces(tokenizer.decoder(), tokenizer.encode(text), sizes):
        assert REPLACEMENT not in piece


@given(data=st.data(), sizes=cuts, skip=st.booleans())
def test_any_ids_of_a_byte_level_vocabulary(
    byte_level: Tokenizer, data: st.DataObject, sizes: list[int], skip: bool
) -> None:
    ids = data.draw(st.lists(st.integers(0, byte_level.vocab_size + 3)))
    decoder = byte_level.decoder(skip_special_tokens=skip)
    assert "".join(pieces(decoder, ids, sizes)) == byte_level.decode(ids, skip_special_tokens=skip)


def test_a_space_after_a_skipped_token_stays(sentencepiece: Tokenizer) -> None:
    word, end = sentencepiece.id_of("▁the"), sentencepiece.id_of("</s>")
    assert word is not None and end is not None
    assert "".join(pieces(sentencepiece.decoder(), [word, end, word], [])) == "the the"


def test_bytes_that_never_become_a_character_are_told_at_the_end(byte_level: Tokenizer) -> None:
    euro = byte_level.encode("€")
    decoder = byte_level.decoder()
    assert decoder.push(euro[:1]) == ""
    assert decoder.flush() == REPLACEMENT


def test_special_tokens_that_are_kept(byte_level: Tokenizer) -> None:
    ids = byte_level.encode("<tool_call>x<|end|>")
    tag = byte_level.id_of("<tool_call>")
    assert tag is not None
    decoder = byte_level.decoder(keep=[tag])
    assert "".join(pieces(decoder, ids, [])) == "<tool_call>x"


def test_a_window_of_noise_is_bounded(sentencepiece: Tokenizer) -> None:
    noise = sentencepiece.id_of("<0xFF>")
    assert noise is not None
    decoder = sentencepiece.decoder()
    assert "".join(decoder.push([noise]) for _ in range(200))


def test_what_follows_a_prompt_keeps_its_space(sentencepiece: Tokenizer) -> None:
    the, quick = sentencepiece.id_of("▁the"), sentencepiece.id_of("▁quick")
    start = sentencepiece.id_of("<s>")
    assert the is not None and quick is not None and start is not None
    assert "".join(pieces(sentencepiece.decoder(prompt=[start, quick]), [the, quick], [])) == (
        " the quick"
    )
    assert "".join(pieces(sentencepiece.decoder(prompt=[start]), [the], [])) == "the"
    assert "".join(pieces(sentencepiece.decoder(), [the], [])) == "the"


@given(before=st.text(), text=st.text(), sizes=cuts)
def test_prompt_and_what_follows_join_to_the_whole(
    tokenizer: Tokenizer, before: str, text: str, sizes: list[int]
) -> None:
    prompt, whole = tokenizer.encode(before), tokenizer.encode(before + text)
    if whole[: len(prompt)] == prompt:
        decoder = tokenizer.decoder(prompt=prompt)
        after = "".join(pieces(decoder, whole[len(prompt) :], sizes))
        assert tokenizer.decode(prompt) + after == tokenizer.decode(whole)


def test_a_prompt_that_ends_within_a_character(sentencepiece: Tokenizer) -> None:
    letter, half = sentencepiece.id_of("a"), sentencepiece.id_of("<0xE4>")
    assert letter is not None and half is not None
    decoder = sentencepiece.decoder(prompt=[letter, half])
    assert "".join(pieces(decoder, [letter], [])) == "a"
