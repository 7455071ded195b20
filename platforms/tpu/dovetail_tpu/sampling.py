"""Sampling on the device, by the rules of SamplingColumns, LateEdits and Tokens in the contract.

Nothing is sorted: which logits survive top-k and top-p is found by bisection over their bits, which takes as many
passes over the row as there are bits, whatever its width. All rows are computed alike, and parts that no row of the
step asks for are skipped. Floats are f32, so a draw may differ from the definition where two scores are equal to
seven digits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import lax

from .trace import Array

F32, I32, U32 = jnp.float32, jnp.int32, jnp.uint32
TOP_LOGPROBS = 20
WORDS = 3 + 2 * TOP_LOGPROBS
"""Words of a drawn row: id, log-probability, whether it is not finite, then ids and log-probabilities of alternatives."""


@dataclass(frozen=True, slots=True)
class Columns:
    """fill.fill_columns, taken apart; all [n]."""

    rows: Array
    slot: Array
    target: Array
    temperature: Array
    top_k: Array
    top_p: Array
    min_p: Array
    low: Array
    high: Array
    position: Array
    logprobs: Array

    @classmethod
    def of(cls, packed: Array) -> Columns:
        """packed [n, 11] i32."""
        parts = [packed[:, at] for at in range(packed.shape[1])]
        for at in (3, 5, 6):
            parts[at] = lax.bitcast_convert_type(parts[at], F32)
        for at in (7, 8):
            parts[at] = lax.bitcast_convert_type(parts[at], U32)
        return cls(*parts)


def sample(logits: Array, columns: Columns, broken: Array | None = None) -> tuple[Array, Array]:
    """A token for each row.

    logits   [n, V]  f32, edited
    broken   [n]     rows that were not finite before they were edited
    returns  ids [n] i32, and everything that Tokens has as words [n, 43] i32
    """
    peak = logits.max(axis=1)
    bad = ~jnp.isfinite(peak)
    if broken is not None:
        bad |= broken
    drawing = (columns.target < 0) & (columns.temperature > 0) & ~bad
    greedy = jnp.argmax(logits, axis=1).astype(I32)
    drawn = lax.cond(
        drawing.any(), lambda: _draw(logits, peak, columns), lambda: jnp.zeros_like(greedy)
    )
    ids = jnp.where(columns.target >= 0, columns.target, jnp.where(drawing, drawn, greedy))
    asked = (columns.target >= 0) | (columns.logprobs >= 0)
    logprob, top = lax.cond(
        asked.any(), lambda: _logprobs(logits, peak, ids), lambda: _nothing(ids.shape[0])
    )
    bits = [
        ids,
        lax.bitcast_convert_type(jnp.where(asked & ~bad, logprob, jnp.nan), I32),
        bad.astype(I32),
    ]
    return ids, lax.concatenate([jnp.stack(bits, axis=1), top], 1)


def edit(
    logits: Array, edits: tuple[Array, Array, Array, Array], masks: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Logits [n, V] after LateEdits, and which rows [n] were not finite before.

    edits  rows, ids, factors, addends [e]; rows of n or more are padding
    masks  rows [m], words [m, ceil(V / 32)] u32; the same
    """
    broken = ~jnp.isfinite(logits.max(axis=1))
    rows, ids, factors, addends = edits
    old = logits.at[rows, ids].get(mode="fill", fill_value=0.0)
    new = jnp.where(old > 0, old / factors, old * factors) + addends
    logits = logits.at[rows, ids].set(new, mode="drop")
    rows, words = masks
    place = np.arange(logits.shape[1], dtype=np.int32)
    allowed = (words[:, place >> 5] >> (place & 31).astype(np.uint32)) & 1
    limits = jnp.where(allowed == 1, jnp.inf, -jnp.inf).astype(F32)
    return logits.at[rows].min(limits, mode="drop"), broken


def _nothing(rows: int) -> tuple[Array, Array]:
    ids = jnp.full((rows, TOP_LOGPROBS), -1, I32)
    blank = lax.bitcast_convert_type(jnp.full((rows, TOP_LOGPROBS), jnp.nan, F32), I32)
    return jnp.zeros(rows, F32), lax.concatenate([ids, blank], 1)


def _logprobs(logits: Array, peak: Array, ids: Array) -> tuple[Array, Array]:
    """Log-probabilities of ids [n], and the largest ones as words [n, 40]."""
    rows, vocabulary = logits.shape
    logsum = peak + jnp.log(jnp.exp(logits - peak[:, None]).sum(axis=1))
    count = min(TOP_LOGPROBS, vocabulary)
    values, best = lax.top_k(logits, count)
    short = ((0, 0), (0, TOP_LOGPROBS - count))
    best = jnp.pad(best, short, constant_values=-1)
    values = jnp.pad(values - logsum[:, None], short, constant_values=-jnp.inf)
    own = logits[np.arange(rows), ids] - logsum
    return own, lax.concatenate([best, lax.bitcast_convert_type(values, I32)], 1)


# ------------------------------------------------------------------------------------------------------ draws


def _draw(logits: Array, peak: Array, columns: Columns) -> Array:
    """Gumbel-max over what survives."""
    temperature = jnp.where(columns.temperature > 0, columns.temperature, 1)
    relative = (logits - peak[:, None]) / temperature[:, None]
    limited = (columns.top_k > 0) | (columns.top_p < 1) | (columns.min_p > 0)
    kept = lax.cond(
        limited.any(),
        lambda: _kept(logits, relative, columns),
        lambda: jnp.ones(logits.shape, bool),
    )
    scores = jnp.where(kept, relative + noise(logits.shape[1], columns), -jnp.inf)
    return jnp.argmax(scores, axis=1).astype(I32)


def _kept(logits: Array, relative: Array, columns: Columns) -> Array:
    """What top-k, then top-p, then min-p leave, [n, V]; of equal logits the lowest ids."""
    vocabulary = logits.shape[1]
    keys = _ordered(logits)
    count = jnp.where(columns.top_k > 0, jnp.minimum(columns.top_k, vocabulary), vocabulary)
    ones = jnp.ones_like(relative)
    first = _largest(keys, ones, count.astype(F32))
    shares = jnp.where(first, jnp.exp(relative), 0)
    wanted = jnp.maximum(columns.top_p * shares.sum(axis=1), 1e-30)  # at least the largest one
    second = lax.cond(
        (columns.top_p < 1).any(),
        lambda: _largest(keys, shares, wanted) | (columns.top_p >= 1)[:, None],
        lambda: jnp.ones(logits.shape, bool),
    )
    third = relative >= jnp.log(columns.min_p)[:, None]
    return first & second & ((columns.min_p <= 0)[:, None] | third)


def _largest(keys: Array, amounts: Array, wanted: Array) -> Array:
    """The fewest largest keys [n, V] whose amounts reach what is wanted [n]; of equal keys the lowest ids."""

    def reached(bound: Array) -> Array:
        return jnp.where(keys >= bound[:, None], amounts, 0).sum(axis=1) >= wanted

    floor = _bisect(reached, jnp.zeros(len(keys), U32), 32)
    equal = keys == floor[:, None]
    above = keys > floor[:, None]
    rest = wanted - jnp.where(above, amounts, 0).sum(axis=1)
    place = np.arange(keys.shape[1], dtype=np.uint32)
    turned = np.uint32(keys.shape[1] - 1) - place

    def enough(bound: Array) -> Array:
        inside = equal & (turned >= bound[:, None])
        return jnp.where(inside, amounts, 0).sum(axis=1) >= rest

    last = _bisect(enough, jnp.zeros(len(keys), U32), max(1, (keys.shape[1] - 1).bit_length()))
    return above | (equal & (turned >= last[:, None]))


def _bisect(holds: Callable[[Array], Array], start: Array, bits: int) -> Array:
    """The largest numbers [n] of so many bits that hold, given that a smaller one holds where a larger does."""

    def refine(at: Array, found: Array) -> Array:
        tried = found | (U32(1) << (U32(bits - 1) - at.astype(U32)))
        return jnp.where(holds(tried), tried, found)

    return lax.fori_loop(0, bits, refine, start)


def _ordered(values: Array) -> Array:
    """f32 as u32 in the same order; NaN is below everything."""
    bits = lax.bitcast_convert_type(values + 0.0, U32)
    flipped = jnp.where(bits >> 31 == 1, ~bits, bits | U32(0x80000000))
    return jnp.where(jnp.isnan(values), U32(0), flipped)


# ------------------------------------------------------------------------------------------------------ noise


def noise(vocabulary: int, columns: Columns) -> Array:
    """Gumbel noise [n, V] f32: -log(-log u), u = (word + 0.5) / 2**32, the small one of u and 1 - u kept exact."""
    groups = np.arange(-(-vocabulary // 4), dtype=np.uint32)[None, :]
    shape = (columns.low.shape[0], groups.shape[1])
    counter = [
        jnp.broadcast_to(groups, shape),
        jnp.broadcast_to(columns.position.astype(U32)[:, None], shape),
        jnp.zeros(shape, U32),
        jnp.zeros(shape, U32),
    ]
    words = philox(counter, columns.low[:, None], columns.high[:, None])
    joined = jnp.stack(words, axis=2).reshape(shape[0], -1)[:, :vocabulary]
    upper = joined >> 31 == 1
    part = (jnp.where(upper, ~joined, joined).astype(F32) + 0.5) * np.float32(2.0**-32)
    return -jnp.log(jnp.where(upper, -jnp.log1p(-part), -jnp.log(part)))


def philox(counter: list[Array], low: Array, high: Array) -> list[Array]:
    """Philox-4x32-10 in 32-bit words.

    Source: Salmon, Moraes, Dror, Shaw 2011, section 3.3.
    """

    def turn(_: int, state: tuple[Array, ...]) -> tuple[Array, ...]:
        c0, c1, c2, c3, k0, k1 = state
        high0, low0 = _product(c0, 0xD2511F53)
        high1, low1 = _product(c2, 0xCD9E8D57)
        mixed = (high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0)
        return (*mixed, k0 + U32(0x9E3779B9), k1 + U32(0xBB67AE85))

    state = (*counter, low, high)
    return list(lax.fori_loop(0, 10, turn, state)[:4])


def _product(word: Array, factor: int) -> tuple[Array, Array]:
    """High and low 32 bits of a product, from halves of 16: there are no 64-bit integers on the chip."""
    a, b = word >> 16, word & 0xFFFF
    c, d = U32(factor >> 16), U32(factor & 0xFFFF)
    low, cross = b * d, a * d
    middle = b * c + (low >> 16) + (cross & 0xFFFF)
    return a * c + (middle >> 16) + (cross >> 16), word * U32(factor)
