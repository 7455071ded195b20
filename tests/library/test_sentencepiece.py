"""A completion goes on from its prompt: with SentencePiece-like vocabularies it keeps the space that it begins with."""

from __future__ import annotations

from pathlib import Path

import pytest
import tokenizers
from dovetail import LLM, SamplingParams
from dovetail.cli.main import main
from dovetail_sdk.testing import TINY, write_checkpoint
from tokenizers import decoders, models, pre_tokenizers


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> Path:
    """A checkpoint whose every token is a word with the mark that stands for a space before it."""
    directory = write_checkpoint(tmp_path_factory.mktemp("words"))
    vocabulary = {f"▁w{index}": index for index in range(TINY["vocab_size"])}
    backend = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="▁w0"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.save(str(directory / "tokenizer.json"))
    return directory


def test_the_library_keeps_the_first_space(words):
    with LLM(str(words), platform="null") as llm:
        params = SamplingParams(temperature=0, max_tokens=3, ignore_eos=True)
        (completion,) = llm.generate("w5 w6", params)
        (reply,) = llm.chat([{"role": "user", "content": "w5"}], params)
    drawn = completion.outputs[0].token_ids
    assert completion.text == "".join(f" w{token}" for token in drawn)
    assert reply.text == " ".join(f"w{token}" for token in reply.outputs[0].token_ids)


def test_the_command_line_keeps_the_first_space(words, capsys):
    command = ["generate", "w5 w6", "--model", str(words), "--platform", "null"]
    assert main([*command, "--max-tokens", "3", "--temperature", "0"]) == 0
    assert capsys.readouterr().out.startswith(" w")
