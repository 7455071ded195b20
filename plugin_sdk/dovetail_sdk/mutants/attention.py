"""Wrong attention: masks, heads, windows, and what is written for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from dovetail.platform import F32
from numpy.typing import NDArray

from dovetail_sdk.reference import ops
from dovetail_sdk.reference.softmax import attend
from dovetail_sdk.runner import Layer, Step

from .plant import mutant

Kernel = Callable[..., Any]

Places = NDArray[np.integer]

ATTENDING = "^(attention|attention_write|kv_write)$"


def attending(kernel: Kernel) -> Mapping[str, Kernel]:
    """Both ops that attend, by this attention."""

    def attention_write(q: F32, k: F32, v: F32, *, cache: Layer, step: Step, **rest: Any) -> F32:
        written = ops.kv_write(k, v, cache=cache, step=step)
        widths = {"kv_heads": k.shape[1], "value_width": v.shape[2]}
        return np.asarray(kernel(q, written, cache=cache, step=step, **widths, **rest))

    return {"attention": kernel, "attention_write": attention_write}


def with_changed(op: str, **changes: Callable[[Any], Any]) -> Kernel:
    """An op as it is, of other attributes or weights; what a node does not have stays away."""
    kernel = ops.OPS[op]

    def changed(*inputs: Any, **arguments: Any) -> Any:
        for name, change in changes.items():
            if name in arguments:
                arguments[name] = change(arguments[name])
        return kernel(*inputs, **arguments)

    return changed


def seeing(hide: Callable[[Places, Places, int, int, int | None], NDArray[np.bool_]]) -> Kernel:
    """Attention with another mask: hide(queries [n, 1], keys [c], past, block size, window) -> [n, c]."""

    def attention(
        q: F32,
        written: F32,
        *,
        cache: Layer,
        step: Step,
        value_width: int,
        scale: float,
        kv_heads: int,
        window: int | None = None,
        soft_cap: float | None = None,
    ) -> F32:
        y = np.empty((*q.shape[:2], value_width), np.float32)
        for row, past in enumerate(step.past.tolist()):
            mine = slice(int(step.starts[row]), int(step.starts[row + 1]))
            end = step.end(row)
            keys, values = read(cache, step, row)
            hidden = hide(
                np.arange(past, end)[:, None], np.arange(end), past, step.block_size, window
            )
            y[mine] = attend(q[mine], keys, values, hidden, scale, soft_cap)
        return y

    return attention


def read(cache: Layer, step: Step, row: int) -> tuple[F32, F32]:
    """Keys [c, K, D] and values [c, K, Dv] of a row from its first position on."""
    end = step.end(row)
    blocks = step.tables[cache.group][row, : -(-end // step.block_size)]
    keys, values = (
        array[blocks].reshape(-1, *array.shape[2:])[:end].astype(np.float32)
        for array in (cache.keys, cache.values)
    )
    return keys, values


def proper(queries: Places, keys: Places, window: int | None) -> NDArray[np.bool_]:
    """What is rightly hidden."""
    hidden = queries < keys
    if window is not None:
        hidden |= queries - keys >= window
    return hidden


def both_sides(
    queries: Places, keys: Places, past: int, size: int, window: int | None
) -> NDArray[np.bool_]:
    return queries - keys >= (window or keys.size + 1)


def without_past(
    queries: Places, keys: Places, past: int, size: int, window: int | None
) -> NDArray[np.bool_]:
    return proper(queries, keys, window) | (keys < past)


def without_block_ends(
    queries: Places, keys: Places, past: int, size: int, window: int | None
) -> NDArray[np.bool_]:
    last = (queries == keys) & ((queries + 1) % size == 0) & (queries > 0) & (window != 1)
    return np.asarray(proper(queries, keys, window) | last)


def without_far(
    queries: Places, keys: Places, past: int, size: int, window: int | None
) -> NDArray[np.bool_]:
    return np.asarray(proper(queries, keys, window) | (queries - keys >= 64))


def heads_by_remainder(q: F32, written: F32, *, kv_heads: int, **rest: Any) -> F32:
    """Query head h reads key head h % K, where it should read h // (H / K)."""
    order = np.arange(q.shape[1]).reshape(-1, kv_heads).T.reshape(-1)
    mixed = ops.attention(q[:, order], written, kv_heads=kv_heads, **rest)
    y = np.empty_like(mixed)
    y[:, order] = mixed
    return y


def table_of_first_row(q: F32, written: F32, *, step: Step, **rest: Any) -> F32:
    tables = tuple(np.repeat(table[:1], len(table), axis=0) for table in step.tables)
    return ops.attention(q, written, step=replace(step, tables=tables), **rest)


def half_sums(x: F32, weight: F32) -> F32:
    """x [*, I] @ weight.T [I, O], every partial sum rounded to f16."""
    total = np.zeros((*x.shape[:-1], len(weight)), np.float16)
    for index in range(x.shape[-1]):
        total += (x[..., index, None] * weight[:, index]).astype(np.float16)
    return total.astype(np.float32)


def attention_in_f16(
    q: F32,
    written: F32,
    *,
    cache: Layer,
    step: Step,
    value_width: int,
    scale: float,
    kv_heads: int,
    window: int | None = None,
    soft_cap: float | None = None,
) -> F32:
    """Scores and weighted values summed in f16."""
    y = np.empty((*q.shape[:2], value_width), np.float32)
    for row, past in enumerate(step.past.tolist()):
        mine = slice(int(step.starts[row]), int(step.starts[row + 1]))
        keys, values = read(cache, step, row)
        places = np.arange(past, step.end(row))[:, None]
        hidden = proper(places, np.arange(step.end(row)), window)
        for head in range(q.shape[1]):
            shared = head // (q.shape[1] // kv_heads)
            scores = half_sums(q[mine, head], keys[:, shared]) * np.float32(scale)
            if soft_cap is not None:
                scores = np.tanh(scores / np.float32(soft_cap)) * np.float32(soft_cap)
            scores[hidden] = -np.inf
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            weights /= weights.sum(axis=1, keepdims=True)
            y[mine, head] = half_sums(weights, values[:, shared].T)
    return y


def kv_write_from_zero(k: F32, v: F32, *, cache: Layer, step: Step) -> F32:
    """As if nothing were in the cache yet."""
    begun = replace(step, past=np.zeros_like(step.past), _made={})
    return ops.kv_write(k, v, cache=cache, step=begun)


def kv_write_keys_twice(k: F32, v: F32, *, cache: Layer, step: Step) -> F32:
    return ops.kv_write(k, k if k.shape == v.shape else v, cache=cache, step=step)


MUTANTS = (
    mutant(
        "window-plus-one",
        "a window reaches one position too far back",
        "ops",
        ops=ATTENDING,
        kernels=attending(with_changed("attention", window=lambda w: None if w is None else w + 1)),
    ),
    mutant(
        "window-ignored",
        "a windowed layer attends to everything",
        "ops",
        ops=ATTENDING,
        kernels=attending(with_changed("attention", window=lambda w: None)),
    ),
    mutant(
        "attention-unscaled",
        "scores are not multiplied by scale",
        "ops",
        ops=ATTENDING,
        kernels=attending(with_changed("attention", scale=lambda _: 1.0)),
    ),
    mutant(
        "attention-cap-ignored",
        "scores are not capped",
        "ops",
        ops=ATTENDING,
        kernels=attending(with_changed("attention", soft_cap=lambda _: None)),
    ),
    mutant(
        "heads-by-remainder",
        "query head h reads key head h % K instead of h // (H / K)",
        "ops",
        ops=ATTENDING,
        kernels=attending(heads_by_remainder),
    ),
    mutant(
        "future-seen",
        "tokens of a step attend to the ones after them",
        "ops",
        ops=ATTENDING,
        kernels=attending(seeing(both_sides)),
    ),
    mutant(
        "past-ignored",
        "a row attends to the new tokens alone",
        "ops",
        ops=ATTENDING,
        kernels=attending(seeing(without_past)),
    ),
    mutant(
        "block-end-ignored",
        "a token at the end of a block does not attend to itself",
        "ops",
        ops=ATTENDING,
        kernels=attending(seeing(without_block_ends)),
    ),
    mutant(
        "context-cut",
        "attention forgets what is 64 tokens back",
        "ops",
        ops=ATTENDING,
        kernels=attending(seeing(without_far)),
    ),
    mutant(
        "table-of-first-row",
        "every row reads the blocks of the first",
        "ops",
        ops=ATTENDING,
        kernels=attending(table_of_first_row),
    ),
    mutant(
        "attention-in-f16",
        "attention sums scores and values in f16",
        "ops",
        ops=ATTENDING,
        kernels=attending(attention_in_f16),
    ),
    mutant(
        "write-from-zero",
        "keys and values of a chunk are written over those of the first",
        "ops",
        ops=ATTENDING,
        kernels={
            "kv_write": kv_write_from_zero,
            "attention_write": lambda q, k, v, *, cache, step, **rest: ops.attention(
                q,
                kv_write_from_zero(k, v, cache=cache, step=step),
                cache=cache,
                step=step,
                kv_heads=k.shape[1],
                value_width=v.shape[2],
                **rest,
            ),
        },
    ),
    mutant(
        "keys-kept-twice",
        "keys are stored where values belong",
        "ops",
        ops="^(attention|kv_write)$",
        kernels={"kv_write": kv_write_keys_twice},
    ),
)
