"""The function from tokens to the next token: for arrays, and once more for one sequence as plain as can be.

    step[p]    = mix(token * A + position * B + C)
    digest[p]  = step[0] + ... + step[p]              kept in the cache; says everything about the prefix
    context[p] = sum of mix(digest[q]) over the q that p sees, times 2g + 1, over the cache groups g
    next       = (mix(context) >> 8) % V

All in uint64, wrapping. A sum over every block seen is needed for each token, as it is for attention.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from dovetail.platform import I32, U32
from numpy.typing import NDArray

U64 = NDArray[np.uint64]

_MASK = (1 << 64) - 1
_A, _B, _C = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 7
_MIX = 0xD6E8FEB86659FD93
_SHIFT = np.uint64(32)


def mix(values: U64) -> U64:
    """A bijection of 64 bits in which every input bit reaches every output bit."""
    mixed = values ^ (values >> _SHIFT)
    mixed *= np.uint64(_MIX)
    mixed ^= mixed >> _SHIFT
    mixed *= np.uint64(_MIX)
    mixed ^= mixed >> _SHIFT
    return mixed


def steps(tokens: I32, positions: I32) -> U64:
    """[T] what each token adds to the digest of its sequence."""
    mixed = tokens.astype(np.uint64) * np.uint64(_A)
    mixed += positions.astype(np.uint64) * np.uint64(_B)
    mixed += np.uint64(_C)
    return mix(mixed)


def draw_words(contexts: U64, temperature: NDArray[np.float32], seed: U32, position: I32) -> U64:
    """[n] 64 random bits per row; where temperature is not 0, seed and position are mixed in."""
    warm = temperature != 0
    if warm.any():
        key = seed[:, 0].astype(np.uint64) | seed[:, 1].astype(np.uint64) << _SHIFT
        salt = mix(key) + position.astype(np.uint64) * np.uint64(_B)
        contexts = np.where(warm, contexts ^ salt, contexts)
    return mix(contexts)


def _mix_one(value: int) -> int:
    for _ in range(2):
        value = (value ^ value >> 32) * _MIX & _MASK
    return value ^ value >> 32


def expected(
    prompt: Sequence[int],
    count: int,
    vocab_size: int,
    *,
    stop_ids: Collection[int] = (),
    min_tokens: int = 0,
    temperature: float = 0.0,
    seed: int = 0,
    windows: Sequence[int | None] = (None,),
) -> list[int]:
    """What the null platform generates for a prompt: `count` tokens, fewer if one of stop_ids comes (it is included).

    windows  of the model's cache groups; () for a model without a cache counts as one group
    """
    digests: list[int] = []
    tokens = list(prompt)
    salt = _mix_one(seed & _MASK)
    while True:
        for position in range(len(digests), len(tokens)):
            step = _mix_one(tokens[position] * _A + position * _B + _C & _MASK)
            digests.append((digests[-1] if digests else 0) + step & _MASK)
        made = len(tokens) - len(prompt)
        if made >= count or (made > min_tokens and tokens[-1] in stop_ids):
            return tokens[len(prompt) :]
        word = _context(digests, windows)
        if temperature != 0:
            word ^= salt + len(tokens) * _B & _MASK
        token = (_mix_one(word) >> 8) % vocab_size
        while made < min_tokens and token in stop_ids:
            token = (token + 1) % vocab_size
        tokens.append(token)


def _context(digests: list[int], windows: Sequence[int | None]) -> int:
    """The context of the last position."""
    total = 0
    for group, window in enumerate(windows or (None,)):
        seen = digests if window is None else digests[-window:]
        total += (2 * group + 1) * sum(_mix_one(digest) for digest in seen)
    return total & _MASK
