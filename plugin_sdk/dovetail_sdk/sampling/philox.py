"""Philox-4x32-10, the counter-based generator behind every draw, and the Gumbel noise made from it.

Source: Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Word = U64 | np.uint64

_MULTIPLIER_0 = np.uint64(0xD2511F53)
_MULTIPLIER_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = np.uint64(0x9E3779B9)
_WEYL_1 = np.uint64(0xBB67AE85)
WORD = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def philox4x32(
    counter: tuple[Word, Word, Word, Word], key: tuple[Word, Word]
) -> tuple[U64, U64, U64, U64]:
    """Ten rounds. All arguments hold 32-bit words in uint64 and broadcast; the results have the common shape.

    Words in 64-bit lanes make the 32 x 32 -> 64 bit product one vector instruction. After two rounds, in which what
    is a scalar mostly stays one, everything happens in place: fresh memory costs as much as the arithmetic.
    """
    shape = np.broadcast_shapes(*(np.shape(word) for word in (*counter, *key)))
    words, key = _two_rounds(counter, key)
    c0, c1, c2, c3 = (_filled(word, shape) for word in words)
    p0, p1 = np.empty_like(c0), np.empty_like(c0)
    k0, k1 = key
    for _ in range(8):
        np.multiply(c0, _MULTIPLIER_0, out=p0)
        np.multiply(c2, _MULTIPLIER_1, out=p1)
        _mix(p1, c1, k0, out=c0)
        _mix(p0, c3, k1, out=c2)
        c1, c3, p0, p1 = p1, p0, c1, c3
        k0, k1 = (k0 + _WEYL_0) & WORD, (k1 + _WEYL_1) & WORD
    c1 &= WORD
    c3 &= WORD
    return c0, c1, c2, c3


def _two_rounds(
    counter: tuple[Word, Word, Word, Word], key: tuple[Word, Word]
) -> tuple[tuple[Word, Word, Word, Word], tuple[Word, Word]]:
    """Two rounds, and the key of the third. Words 1 and 3 are products whose high halves mean nothing."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(2):
        p0, p1 = c0 * _MULTIPLIER_0, c2 * _MULTIPLIER_1
        c0, c1 = ((p1 >> _HALF) ^ c1 ^ k0) & WORD, p1
        c2, c3 = ((p0 >> _HALF) ^ c3 ^ k1) & WORD, p0
        k0, k1 = (k0 + _WEYL_0) & WORD, (k1 + _WEYL_1) & WORD
    return (c0, c1, c2, c3), (k0, k1)


def _filled(word: Word, shape: tuple[int, ...]) -> U64:
    """A word in every lane, in memory of its own; what has that already, as it is."""
    if isinstance(word, np.ndarray) and word.shape == shape:
        return word
    return np.array(np.broadcast_to(word, shape), np.uint64)


def _mix(product: U64, word: U64, key: Word, out: U64) -> None:
    """High half of product ^ low half of word ^ key."""
    np.right_shift(product, _HALF, out=out)
    out ^= word
    out ^= key
    out &= WORD


def group_words(groups: U64, position: Word, low: Word, high: Word) -> tuple[U64, U64, U64, U64]:
    """The words of ids 4g, 4g + 1, 4g + 2 and 4g + 3 for every g of groups."""
    zero = np.uint64(0)
    return philox4x32((groups, position, zero, zero), (low, high))


def noise_of_words(words: U64) -> F64:
    """Gumbel noise -log(-log u), u = (word + 0.5) / 2**32, which is exact and below 1 in f64.

    It lies between -3.14 and 22.88: an id whose scaled logit is 27 below the largest never wins.
    """
    uniform = (words.astype(np.float64) + 0.5) * 2.0**-32
    return np.asarray(-np.log(-np.log(uniform)))


def noise(ids: I64, position: Word, low: Word, high: Word) -> F64:
    """Gumbel noise of vocabulary ids [c]; position and key are scalars or [c]."""
    words = group_words((ids >> 2).astype(np.uint64), position, low, high)
    return noise_of_words(np.choose(ids & 3, words))
