"""Texts -> ids with the library, one text or a pair."""

from __future__ import annotations

from collections.abc import Sequence

import tokenizers


def ids_of(
    backend: tokenizers.Tokenizer, texts: Sequence[str], *, special: bool, most: int | None = None
) -> tuple[list[int], list[int]]:
    """Ids of one text or of a pair, put together as the model was trained, and the segment of each id.

    special  the special tokens around them too
    most     tokens to keep, special ones included; the longer of two texts loses first, at its end
    """
    parts = backend.encode_batch(list(texts), add_special_tokens=False)
    if most is not None:
        around = backend.num_special_tokens_to_add(len(parts) > 1)
        room = max(0, most - around * special)
        for part, length in zip(parts, _shares([len(p.ids) for p in parts], room), strict=True):
            part.truncate(length)
    pair = parts[1] if len(parts) > 1 else None
    whole = backend.post_process(parts[0], pair, special)
    return whole.ids, whole.type_ids


def _shares(lengths: Sequence[int], room: int) -> list[int]:
    """Lengths cut to a sum of `room`, from the longest down."""
    if sum(lengths) <= room or len(lengths) == 1:
        return [min(length, room) for length in lengths]
    first, second = lengths
    short = min(first, second, room // 2)
    if first <= second:
        return [short, room - short] if first <= room // 2 else [room - room // 2, room // 2]
    return [room - short, short] if second <= room // 2 else [room - room // 2, room // 2]
