"""Reading tokenizer.json: bounded, checked part by part, and written anew for the library, so that both read the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import tokenizers

from dovetail.errors import CheckpointError

from .parts import PARTS, Wrong, check_part

MAX_BYTES = 128 << 20
MAX_FIELD_BYTES = 1 << 20
MAX_AFFIX = 64
MAX_WORD = 256
MAX_CACHE = 1 << 20
LARGE = ("vocab", "merges")
WITHOUT_MERGES = ("Unigram", "WordLevel", "WordPiece")
COMMENT = "#version"
"""How a merge begins that is none, of those written as one string."""
NOTHING = msgspec.json.encode(r"[^\s\S]").decode()
NULL = msgspec.Raw(b"null")


@dataclass(frozen=True, slots=True)
class TokenizerFile:
    """A file that was checked.

    text      JSON for the library
    patterns  regular expressions in it that may take any time; see patterns.py
    """

    path: Path
    text: str
    patterns: tuple[str, ...]

    def without_patterns(self) -> TokenizerFile:
        """The same with patterns that match nothing in the place of those: what spells a text still does, in other tokens."""
        text = self.text
        for pattern in self.patterns:
            written = msgspec.json.encode(pattern).decode()
            text = text.replace(f'"Regex":{written}', f'"Regex":{NOTHING}')
        return TokenizerFile(self.path, text, ())

    def backend(self) -> tokenizers.Tokenizer:
        """The tokenizer as the library has it. Raises CheckpointError."""
        try:
            return tokenizers.Tokenizer.from_str(self.text)
        except BaseException as error:
            if not failed(error):
                raise
            why = " ".join(str(error).split())[:300]
            raise CheckpointError(f"{self.path} is not a tokenizer this can read: {why}") from None


def failed(error: BaseException) -> bool:
    """Whether the library could not do it: it raises bare Exception, and a panic of its own that is none."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def read_tokenizer(path: Path) -> TokenizerFile:
    """Read and check a file. Raises CheckpointError that names it and the field that is wrong."""
    patterns: list[str] = []
    try:
        whole = msgspec.json.decode(_data(path), type=dict[str, msgspec.Raw])
        kept: dict[str, Any] = {**whole, "truncation": NULL, "padding": NULL}
        for name in PARTS:
            if name in whole:
                kept[name] = _small(whole[name], name, MAX_BYTES)
                patterns += check_part(kept[name], name)
        kept["model"] = _model(whole.get("model", NULL))
        return TokenizerFile(path, msgspec.json.encode(kept).decode(), tuple(patterns))
    except Wrong as error:
        raise CheckpointError(f"{path}: {error}") from None
    except RecursionError:
        raise CheckpointError(f"{path} is nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is not a tokenizer this can read: {error}") from None


def _data(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise CheckpointError(f"{path} is larger than the {MAX_BYTES} bytes a tokenizer may have")
    return data


def _small(raw: msgspec.Raw, name: str, most: int = MAX_FIELD_BYTES) -> Any:
    """A field that is read here as well."""
    data = memoryview(raw)
    if len(data) > most:
        raise Wrong(f"{name} has {len(data)} bytes; at most {most} are read")
    return msgspec.json.decode(data)


def _model(raw: msgspec.Raw) -> dict[str, Any]:
    """The model's fields; its vocabulary and merges go on as they are, once it is seen that they belong together."""
    fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    model = {k: v if k in LARGE else _small(v, f"model.{k}") for k, v in fields.items()}
    for name in ("continuing_subword_prefix", "end_of_word_suffix", "unk_token"):
        text = model.get(name)
        if isinstance(text, str) and len(text) > MAX_AFFIX:
            raise Wrong(f"model.{name} has {len(text)} characters; at most {MAX_AFFIX} are read")
    for name, most in (("max_input_chars_per_word", MAX_WORD), ("cache_capacity", MAX_CACHE)):
        number: Any = model.get(name, 0)
        if type(number) is not int or not 0 <= number <= most:
            raise Wrong(f"model.{name} is {str(number)[:60]}; expected 0 to {most}")
    _check_merges(model)
    return model


def _check_merges(model: Mapping[str, Any]) -> None:
    """Every merge makes a token of the vocabulary: the library ends in a panic where one makes a longer text than any has."""
    if "merges" not in model or model.get("type") in WITHOUT_MERGES:
        return
    merges = msgspec.json.decode(model["merges"], type=list[str | tuple[str, str]])
    vocab = msgspec.json.decode(model.get("vocab", NULL), type=dict[str, int])
    prefix = model.get("continuing_subword_prefix")
    prefix = prefix if isinstance(prefix, str) else ""
    for number, merge in enumerate(merges):
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if len(pair) != 2:
            continue  # the library says so
        left, right = pair
        if right.startswith(prefix) and left + right[len(prefix) :] in vocab:
            continue
        if merge is pair or not left.startswith(COMMENT):
            raise _wrong_merge(left, right, prefix, f"model.merges[{number}]")


def _wrong_merge(left: str, right: str, prefix: str, where: str) -> Wrong:
    """The library cuts the prefix off what follows, and does not look whether it is there."""
    if not right.startswith(prefix):
        return Wrong(
            f"{where} has {right[:60]!r}, which must begin with {prefix!r} "
            "(model.continuing_subword_prefix)"
        )
    made = left + right[len(prefix) :]
    return Wrong(f"{where} makes {made[:60]!r}, which model.vocab does not have")
