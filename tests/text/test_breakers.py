"""Strings as the tokens that hold or begin them."""

from __future__ import annotations

import pytest
from dovetail.text.breakers import Breakers
from dovetail.text.tokenizer import Tokenizer
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, trainers


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(["the end: then\n\nthe other ends, é: 你好\n"] * 40, trainer)
    return Tokenizer(backend)


@pytest.mark.parametrize("text", ["\n", ":", "the", "end: t", "é:", "你好", "zzz", "q", "eee"])
def test_every_token_that_holds_or_begins_a_string_is_found(tokenizer, text) -> None:
    pieces = [tokenizer.piece(i) for i in range(tokenizer.vocab_size)]
    wanted = text.encode()
    found = Breakers(tokenizer).ids([text])
    whole = {ids[0] for ids in found if len(ids) == 1}
    assert whole == {i for i, piece in enumerate(pieces) if wanted in piece}
    begun = {(ids[0], b"".join(pieces[i] for i in ids[1:])) for ids in found if len(ids) > 1}
    expected = set()
    for cut in range(1, len(wanted)):
        try:
            wanted[cut:].decode()
        except UnicodeDecodeError:
            continue
        for i, piece in enumerate(pieces):
            if i not in whole and piece.endswith(wanted[:cut]):
                expected.add((i, wanted[cut:]))
    assert begun == expected
