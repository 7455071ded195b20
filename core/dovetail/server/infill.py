"""Filling in between a prefix and a suffix, by models that were trained for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dovetail.errors import UnsupportedParameter
from dovetail.text.model import TextModel
from dovetail.text.tokenizer import Tokenizer

# before the prefix, before the suffix, before what is to be filled in; as the tokenizers' own files name them
SPELLINGS = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen2.5-Coder, CodeGemma
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder, Granite
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),  # SantaCoder
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),  # CodeLlama
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # DeepSeek-Coder
    ("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),  # GLM-4
)
REPOSITORY = (("<|repo_name|>", "<|file_sep|>"), ("<reponame>", "<filename>"))


@dataclass(frozen=True, slots=True)
class InfillTokens:
    """Ids of the tokens that mark the parts; separator: between files, where the model has one."""

    prefix: int
    suffix: int
    middle: int
    separator: int | None = None

    @property
    def all(self) -> list[int]:
        """Ids that a filled-in text cannot hold."""
        ids = [self.prefix, self.suffix, self.middle]
        return ids if self.separator is None else [*ids, self.separator]


def infill_tokens(tokenizer: Tokenizer) -> InfillTokens | None:
    """The tokens of this model, None if it has none."""
    for spelling in SPELLINGS:
        ids = [tokenizer.id_of(name) for name in spelling]
        found = [token for token in ids if token is not None]
        if len(found) == len(spelling):
            separators = (tokenizer.id_of(separator) for _, separator in REPOSITORY)
            separator = next((token for token in separators if token is not None), None)
            return InfillTokens(found[0], found[1], found[2], separator)
    return None


def need_infill(text: TextModel, param: str) -> InfillTokens:
    """The tokens of this model. Raises UnsupportedParameter if it has none."""
    found = infill_tokens(text.tokenizer)
    if found is None:
        raise UnsupportedParameter(
            f"the tokenizer of {text.name} has no fill-in-the-middle tokens (such as {' '.join(SPELLINGS[0])}); "
            f"leave {param} out, or serve a model that was trained to fill in",
            param=param,
        )
    return found


def infill_ids(
    text: TextModel,
    prefix: str,
    suffix: str,
    *,
    begun: str = "",
    files: Sequence[tuple[str, str]] = (),
    param: str = "suffix",
) -> list[int]:
    """The prompt: prefix, suffix, then what has begun to be filled in. files: names and texts that come before.

    Source: Bavarian et al. 2022, section 3 (prefix-suffix-middle).
    """
    tokens = need_infill(text, param)

    def ids(part: str) -> list[int]:
        return text.encode(part, add_special_tokens=False, param=param) if part else []

    start = text.encode("", add_special_tokens=True)  # what the tokenizer begins every text with
    extra: list[int] = []
    for name, content in files:
        extra += [] if tokens.separator is None else [tokens.separator]
        extra += ids(f"{name}\n{content}\n")
    return [
        *start,
        *extra,
        tokens.prefix,
        *ids(prefix),
        tokens.suffix,
        *ids(suffix),
        tokens.middle,
        *ids(begun),
    ]
