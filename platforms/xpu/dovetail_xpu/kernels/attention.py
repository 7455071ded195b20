"""Launchers of the cache write and of attention, and how a step is cut into tiles (attention.cl)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from dovetail.platform import I32
from dovetail_sdk.opencl import Array, Function, buffers
from dovetail_sdk.runner import Layer, Step

from .tools import Tools

QUERIES = 16
"""Lines, of a token and a head each, that a group computes at once."""
FAR = 1 << 29
"""More than any distance between two tokens."""
_SIGNATURE = "biibiibiibibbbiiiiiiffiiblll"


@dataclass(frozen=True, slots=True)
class Plan:
    """A step cut into tiles, on the device.

    tiles  [n, 8]  see attention.cl
    joins  [m, 4]  tokens whose context was cut: token, first part, parts, distance between them
    parts  how many there are
    """

    count: int
    tiles: Array
    joins: Array | None
    joined: int
    parts: int
    table: Array
    width: int


class Attention:
    """kv_write, attention, attention_write, sink_attention, whole_attention; arguments as in dovetail_sdk.reference.ops."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._group, self._vec = (64, 4) if tools.variant.lane else (8, 16)

    def kv_write(self, k: Array, v: Array, *, cache: Layer, step: Step) -> Array:
        """The order between this and the reads after it is that of the queue."""

        def places() -> Array:
            blocks, offsets = step.places(cache.group)
            return self._tools.backend.upload((blocks * step.block_size + offsets).astype(np.int32))

        where = step.once(("places", cache.group), places)
        function = self._tools.function(
            "kv_write.cl", "kv_write", "biibiibbbii", VALUE=k.dtype, KV=cache.keys.dtype
        )
        arrays = (where.buffer, cache.keys.buffer, cache.values.buffer)
        function((k.shape[0],), (16,), *buffers(k, v), *arrays, k.width, v.width)
        return k

    def attention(
        self,
        q: Array,
        written: object,
        *,
        cache: Layer,
        step: Step,
        scale: float,
        kv_heads: int,
        value_width: int,
        window: int | None = None,
        soft_cap: float | None = None,
        sinks: Array | None = None,
    ) -> Array:
        """q [T, H, D] over cache.keys [B, S, K, D] and cache.values [B, S, K, Dv] -> [T, H, Dv]; sinks [H] f32"""
        heads = min(q.shape[1] // kv_heads, QUERIES)
        plan = step.once(
            ("plan", cache.group, window, heads, kv_heads),
            lambda: self._plan(step, cache.group, window, heads, kv_heads),
        )
        back = FAR if window is None else window - 1
        keys = (cache.keys.buffer, 0, 0, cache.values.buffer, 0, 0)
        sizes = (kv_heads, value_width, step.block_size)
        limits = (scale, soft_cap or 0.0, back, 0)
        return self._issue(q, cache.keys.dtype, keys, plan, sizes, heads, limits, sinks=sinks)

    def attention_write(
        self,
        q: Array,
        k: Array,
        v: Array,
        *,
        cache: Layer,
        step: Step,
        scale: float,
        window: int | None = None,
        soft_cap: float | None = None,
    ) -> Array:
        return self.attention(
            q,
            self.kv_write(k, v, cache=cache, step=step),
            cache=cache,
            step=step,
            scale=scale,
            kv_heads=k.shape[1],
            value_width=v.shape[2],
            window=window,
            soft_cap=soft_cap,
        )

    def sink_attention(self, q: Array, written: object, *, sinks: Array, **given: Any) -> Array:
        """attention; sinks [H]"""
        return self.attention(q, written, sinks=sinks, **given)

    def whole_attention(
        self,
        q: Array,
        k: Array,
        v: Array,
        row_starts: Array,
        *,
        scale: float,
        reach: int | None = None,
    ) -> Array:
        """Attention both ways within each row of the step."""
        kv_heads = k.shape[1]
        heads = min(q.shape[1] // kv_heads, QUERIES)
        key = ("tiles", heads, reach)
        if key not in row_starts.made:
            row_starts.made[key] = self._whole_plan(row_starts, heads, reach)
        far = FAR if reach is None else reach
        sizes = (kv_heads, v.shape[2], 1)
        return self._issue(
            q,
            k.dtype,
            tuple(buffers(k, v)),
            row_starts.made[key],
            sizes,
            heads,
            (scale, 0.0, far, far),
            whole=True,
        )

    def _issue(
        self,
        q: Array,
        stored: str,
        keys: tuple[object, ...],
        plan: Plan,
        sizes: tuple[int, int, int],
        heads: int,
        limits: tuple[float, float, int, int],
        *,
        whole: bool = False,
        sinks: Array | None = None,
    ) -> Array:
        """sizes: K, Dv, S; limits: scale, soft cap, back, ahead."""
        tokens, all_heads, width = q.shape
        kv_heads, value_width, block_size = sizes
        y = self._tools.new((tokens, all_heads, value_width), q.dtype)
        parts = self._tools.new((plan.parts, all_heads, value_width + 2), "f32")
        macros = {"WHOLE": whole, "SINKS": sinks is not None}
        given = self._tools.backend.nothing if sinks is None else sinks
        function = self._function("attention", _SIGNATURE, q.dtype, stored, **macros)
        chunks = -(-(all_heads // kv_heads) // heads)
        padded = [4 * QUERIES * (-(-w // 16) * 16) for w in (width, value_width)]
        function(
            (plan.count, kv_heads * chunks),
            (self._group, 1),
            *(*buffers(q), *keys, plan.table.buffer, plan.width, plan.tiles.buffer),
            *(y.buffer, parts.buffer, all_heads, kv_heads, width, value_width, block_size),
            *(heads, *limits, given.buffer, *padded, 4 * QUERIES * 32),
        )
        if plan.joins is not None:
            join = self._function("attention_join", "bbbiib", q.dtype, stored, **macros)
            join(
                (plan.joined, all_heads),
                (16, 1),
                *(parts.buffer, plan.joins.buffer, y.buffer, all_heads, value_width, given.buffer),
            )
        return y

    def _function(
        self, name: str, signature: str, dtype: str, stored: str, **macros: bool
    ) -> Function:
        return self._tools.function(
            "attention.cl",
            name,
            signature,
            VALUE=dtype,
            KV=stored,
            GROUP=self._group,
            QUERIES=QUERIES,
            VEC=self._vec,
            **macros,
        )

    def _plan(self, step: Step, group: int, window: int | None, heads: int, kv_heads: int) -> Plan:
        table = step.tables[group]
        at_once = max(1, QUERIES // heads)
        variant = self._tools.variant
        stretches = 4 * variant.units // kv_heads
        tiles, joins, parts = cut(step, window, at_once, stretches, shortest=variant.stretch)
        upload = self._tools.backend.upload
        return Plan(
            len(tiles),
            upload(tiles),
            upload(joins) if len(joins) else None,
            len(joins),
            max(parts, 1),
            upload(np.ascontiguousarray(table)),
            table.shape[1],
        )

    def _whole_plan(self, row_starts: Array, heads: int, reach: int | None) -> Plan:
        backend = self._tools.backend
        starts = row_starts.made.get("host")
        if starts is None:
            starts = backend.download(row_starts)
        tiles = whole_tiles(starts, max(1, QUERIES // heads), reach)
        return Plan(len(tiles), backend.upload(tiles), None, 0, 1, backend.nothing, 0)


def cut(
    step: Step, window: int | None, at_once: int, stretches: int, *, shortest: int
) -> tuple[I32, I32, int]:
    """Tiles and joins of a step, and the number of parts.

    at_once    tokens of a tile
    stretches  tiles that the device should have at least, as far as contexts are long enough to be cut
    shortest   tokens of context that a stretch has at least
    """
    lengths = np.diff(step.starts)
    wanted = -(-stretches // max(1, int((-(-lengths // at_once)).sum())))
    tiles: list[tuple[int, ...]] = []
    joins: list[tuple[int, ...]] = []
    parts = 0
    for row, (start, length, past) in enumerate(
        zip(step.starts.tolist(), lengths.tolist(), step.past.tolist(), strict=False)
    ):
        for first in range(0, length, at_once):
            count = min(at_once, length - first)
            position = past + first
            begin = 0 if window is None else max(0, position - window + 1)
            end = position + count
            pieces = max(1, min(wanted, (end - begin) // shortest))
            edges = [begin + (end - begin) * piece // pieces for piece in range(pieces + 1)]
            for piece in range(pieces):
                part = -1 if pieces == 1 else parts + piece * count
                tiles.append(
                    (row, start + first, count, position, edges[piece], edges[piece + 1], part, 0)
                )
            if pieces > 1:
                for token in range(count):
                    joins.append((start + first + token, parts + token, pieces, count))
                parts += pieces * count
    return _rows(tiles, 8), _rows(joins, 4), parts


def whole_tiles(starts: I32, at_once: int, reach: int | None) -> I32:
    """Tiles of whole rows, each token's neighbours on both sides."""
    tiles: list[tuple[int, ...]] = []
    for row, (start, end) in enumerate(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)):
        for first in range(0, end - start, at_once):
            count = min(at_once, end - start - first)
            low = 0 if reach is None else max(0, first - reach)
            high = end - start if reach is None else min(end - start, first + count + reach)
            tiles.append((row, start + first, count, first, low, high, -1, start))
    return _rows(tiles, 8)


def _rows(rows: list[tuple[int, ...]], width: int) -> I32:
    return np.array(rows, np.int32).reshape(-1, width)
