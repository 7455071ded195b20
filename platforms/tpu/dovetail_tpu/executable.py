"""The programs that run: a step with its sampling in one, and sampling alone where a mask came late."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from dovetail.platform import I32, KVLayout, LateEdits, SamplingColumns
from jax import lax
from numpy.typing import NDArray

from . import sampling
from .buckets import Bucket, padded
from .feed import BLANK_COLUMNS, Format, format_of
from .fill import blank_columns, fill_columns
from .lower import Lowered, Params
from .target import Target
from .trace import Array, Settings


@dataclass(frozen=True, slots=True)
class Executable:
    """A compiled step.

    call    (params, caches, registers, vector) -> (caches, registers, outputs by name, words [N, 43]); caches and
            registers are given away
    format  of the vector
    """

    call: Callable[..., tuple[tuple[Array, ...], Array, dict[str, Array], Array]]
    format: Format


def compile_step(
    target: Target,
    lowered: Lowered,
    bucket: Bucket,
    layout: KVLayout | None,
    params: Mapping[str, Mapping[str, Any]],
    caches: Sequence[tuple[tuple[int, ...], Any]],
    slots: int,
) -> Executable:
    """The step of a bucket. params may be arrays, or ShapeDtypeStructs where nothing is loaded."""
    form = format_of(bucket, lowered.graph.inputs, layout)
    compiled = lower_step(target, lowered, bucket, form, params, caches, slots).compile(
        compiler_options=QUICK if target.emulated else None
    )
    return Executable(compiled, form)


QUICK = {"xla_backend_optimization_level": 0}
"""Of the emulated device: its programs are many and run rarely, so that compiling them is what takes time."""


def lower_step(
    target: Target,
    lowered: Lowered,
    bucket: Bucket,
    form: Format,
    params: Mapping[str, Mapping[str, Any]],
    caches: Sequence[tuple[tuple[int, ...], Any]],
    slots: int,
) -> Any:
    """The traced step, to be compiled."""

    def like(shape: tuple[int, ...], dtype: Any, sharding: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

    own = partial(whole_step, target.settings, lowered, bucket, form)
    step = jax.jit(target.over_members(own), donate_argnums=(1, 2))
    return step.lower(
        jax.tree.map(lambda a: like(a.shape, a.dtype, target.divided), dict(params)),
        tuple(like(shape, dtype, target.divided) for shape, dtype in caches),
        like((slots,), jnp.int32, target.whole),
        like(form.blank.shape, jnp.int32, target.whole),
    )


def whole_step(
    settings: Settings,
    lowered: Lowered,
    bucket: Bucket,
    form: Format,
    params: Params,
    caches: tuple[Array, ...],
    registers: Array,
    vector: Array,
) -> tuple[tuple[Array, ...], Array, dict[str, Array], Array]:
    """A step and its sampling; see Executable."""
    feed = form.split(vector, bucket)
    tokens = feed["tokens"]
    late = jnp.take(registers, jnp.where(tokens < 0, ~tokens, 0), mode="clip")
    feed["tokens"] = jnp.where(tokens < 0, late, tokens)
    outputs, made = lowered.trace(settings, bucket, params, caches, feed)
    if "logits" not in outputs or not settings.chip.fused_sampling:
        words = jnp.zeros((bucket.outputs, 1), jnp.int32) + tokens[0]
        return tuple(made), registers, outputs, words
    packed, logits = feed["columns"], outputs["logits"]

    def some(part: tuple[Array, Array]) -> tuple[Array, Array]:
        return lax.cond(part[0] > 0, lambda: _drawn(logits, part[1]), lambda: _none(part[1]))

    size = min(AT_ONCE, len(packed))
    parts = packed.reshape(-1, size, BLANK_COLUMNS.size)
    left = feed["sampled"][0] - size * np.arange(len(parts), dtype=np.int32)
    ids, words = lax.map(some, (left, parts))
    kept = keep(registers, packed[:, 1], ids.reshape(-1))
    return tuple(made), kept, outputs, words.reshape(len(packed), sampling.WORDS)


AT_ONCE = 64
"""Rows that are sampled together: each takes several arrays as wide as the vocabulary."""


def _drawn(logits: Array, packed: Array) -> tuple[Array, Array]:
    columns = sampling.Columns.of(packed)
    return sampling.sample(jnp.take(logits, columns.rows, axis=0, mode="clip"), columns)


def _none(packed: Array) -> tuple[Array, Array]:
    """As _drawn where no row is sampled."""
    rows = len(packed)
    return jnp.zeros(rows, jnp.int32), jnp.zeros((rows, sampling.WORDS), jnp.int32)


def keep(registers: Array, slots: Array, ids: Array) -> Array:
    """ids [n] in slots [n], except where the slot is -1."""
    return registers.at[jnp.where(slots < 0, len(registers), slots)].set(ids, mode="drop")


def sampler(
    logits: Array,
    registers: Array,
    rows: I32,
    columns: SamplingColumns,
    late: LateEdits | None,
) -> tuple[Array, Array]:
    """Registers and words after drawing for rows [n] of logits [N, V]."""
    packed = blank_columns(padded(rows.size))
    fill_columns(packed, rows, columns)
    if late is None:
        return _sample(logits, registers, packed)
    count, beyond = padded(late.rows.size), np.int32(len(packed))
    edits = (
        _extended(late.rows, count, beyond),
        _extended(late.ids, count, 0),
        _extended(late.factors, count, 1),
        _extended(late.addends, count, 0),
    )
    masked = padded(late.mask_rows.size)
    words = np.zeros((masked, late.masks.shape[1] or -(-logits.shape[1] // 32)), np.uint32)
    words[: late.mask_rows.size] = late.masks[: late.mask_rows.size]
    masks = (_extended(late.mask_rows, masked, beyond), words)
    return _sample_edited(logits, registers, packed, edits, masks)


def _extended(numbers: NDArray[Any], size: int, fill: Any) -> NDArray[Any]:
    made = np.full(size, fill, numbers.dtype)
    made[: numbers.size] = numbers
    return made


@partial(jax.jit, donate_argnums=1)
def _sample(logits: Array, registers: Array, packed: Array) -> tuple[Array, Array]:
    columns = sampling.Columns.of(packed)
    ids, words = sampling.sample(logits[columns.rows], columns)
    return keep(registers, columns.slot, ids), words


@partial(jax.jit, donate_argnums=1)
def _sample_edited(
    logits: Array,
    registers: Array,
    packed: Array,
    edits: tuple[Array, Array, Array, Array],
    masks: tuple[Array, Array],
) -> tuple[Array, Array]:
    columns = sampling.Columns.of(packed)
    edited, broken = sampling.edit(logits[columns.rows], edits, masks)
    ids, words = sampling.sample(edited, columns, broken)
    return keep(registers, columns.slot, ids), words
