"""The shapes that steps are padded to: XLA compiles a program for each, so there are few."""

from __future__ import annotations

from dataclasses import dataclass

from dovetail.platform import Shape

from .chips import Chip


@dataclass(frozen=True, slots=True)
class Bucket:
    """The padded lengths of a step.

    tokens, rows, outputs, blocks  as in Shape
    query_tokens                   new tokens of a row that attention computes together: a tile
    """

    tokens: int
    rows: int
    outputs: int
    blocks: int
    query_tokens: int

    @property
    def tiles(self) -> int:
        """Most tiles that the rows of a step can be cut into."""
        if self.query_tokens == 1:
            return self.tokens
        return min(self.tokens, self.rows + self.tokens // self.query_tokens)

    def pages(self, block_size: int) -> int:
        """Most blocks that a step can write to."""
        return min(self.tokens, self.tokens // block_size + 2 * self.rows)

    @property
    def shape(self) -> Shape:
        """The largest step that it holds."""
        return Shape(self.tokens, self.rows, self.outputs, self.blocks)

    def holds(self, tokens: int, rows: int, outputs: int) -> bool:
        """Whether a step fits."""
        return tokens <= self.tokens and rows <= self.rows and outputs <= self.outputs


def ladder(shape: Shape, chip: Chip) -> tuple[Bucket, ...]:
    """Buckets for steps up to a shape, smallest first; the last one holds all of them.

    One is for steps of a token per row, whose tiles are single tokens.
    """
    blocks = _power(shape.blocks)
    rows, outputs = _power(shape.rows), _power(shape.outputs)
    sizes = [size for size in chip.tokens if size < shape.tokens]
    top = min([size for size in chip.tokens if size >= shape.tokens] or [_power(shape.tokens)])
    rungs = dict.fromkeys((*sizes, min(rows, top), top))
    return tuple(
        Bucket(
            tokens=size,
            rows=min(size, rows),
            outputs=min(size, outputs),
            blocks=blocks,
            query_tokens=1 if size <= rows else min(size, chip.attention.query_tokens),
        )
        for size in sorted(rungs)
    )


def _power(number: int) -> int:
    """The power of two that is at least the number, at least 8; 0 stays 0."""
    return 0 if number == 0 else max(8, 1 << (number - 1).bit_length())


def padded(number: int) -> int:
    """What a list of so many is padded to where it has a program of its own."""
    return _power(max(number, 1))
