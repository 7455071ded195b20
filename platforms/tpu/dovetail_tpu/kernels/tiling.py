"""How axes are cut into blocks."""

from __future__ import annotations

MOST_ROWS = 256


def divisor(length: int, most: int, multiple: int = 128) -> int:
    """The largest multiple that divides the length and is at most `most`; the length itself where there is none."""
    for size in range(min(most, length) // multiple * multiple, 0, -multiple):
        if length % size == 0:
            return size
    return length


def rows_of(tokens: int) -> int:
    """Tokens that are multiplied at once: buckets are powers of two, or multiples of 256."""
    return tokens if tokens <= MOST_ROWS else divisor(tokens, MOST_ROWS, 16)
