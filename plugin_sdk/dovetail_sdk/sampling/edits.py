"""Late edits: rows whose logits are changed before they are read, on copies."""

from __future__ import annotations

import numpy as np
from dovetail.platform import F32, I32, LateEdits
from numpy.typing import NDArray

_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
_LIMITS: F32 = np.where(_BITS, np.inf, -np.inf).astype(np.float32)
"""[256, 8]: for a byte of a mask, the largest value that each of its eight ids may keep."""


class Scratch:
    """Rows [r, V] f32 that are used again at every step: fresh pages cost more than the copy into them."""

    def __init__(self, vocab_size: int) -> None:
        self._rows: F32 = np.empty((0, vocab_size), np.float32)

    def take(self, count: int) -> F32:
        """[count, V], contents undefined; valid until the next call."""
        if len(self._rows) < count:
            self._rows = np.empty((count, self._rows.shape[1]), np.float32)
        return self._rows[:count]


def edited_rows(
    logits: F32, rows: I32, late: LateEdits, scratch: Scratch
) -> tuple[dict[int, F32], list[int]]:
    """Copies of the sampled rows that have edits or a mask, changed.

    logits   [N, V]
    rows     [n]     rows of logits that are sampled
    returns  index into rows -> [V], valid until the next call; and the indices whose logits held NaN or
             +inf before, where an edit may have hidden it
    """
    indices = np.union1d(late.rows, late.mask_rows).tolist()
    copies = dict(zip(indices, scratch.take(len(indices)), strict=True))
    broken = []
    for index, copy in copies.items():
        np.copyto(copy, logits[rows[index]])
        if not np.isfinite(copy[copy.argmax()]):
            broken.append(index)
    _apply_edits(copies, late)
    for index, mask in zip(late.mask_rows.tolist(), late.masks, strict=True):
        _apply_mask(copies[index], mask)
    return copies, broken


def _apply_edits(copies: dict[int, F32], late: LateEdits) -> None:
    """Divide, multiply and add, for each edited row at once."""
    if late.rows.size == 0:
        return
    starts = np.flatnonzero(np.diff(late.rows, prepend=late.rows[0] - 1))
    for start, stop in zip(starts, [*starts[1:], late.rows.size], strict=True):
        row = copies[int(late.rows[start])]
        ids, factors = late.ids[start:stop], late.factors[start:stop]
        values = row[ids]
        changed = np.where(values > 0, values / factors, values * factors)
        row[ids] = changed + late.addends[start:stop]


def _apply_mask(row: F32, mask: NDArray[np.uint32]) -> None:
    """-inf wherever the mask has a 0, in place.

    The smaller of value and limit, with the limits of eight ids looked up at once: 7 times faster than a
    conditional copy, and NaN stays NaN.
    """
    limits = _LIMITS[mask.astype("<u4", copy=False).view(np.uint8)].reshape(-1)
    np.minimum(row, limits[: row.size], out=row)
