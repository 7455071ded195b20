"""A model that the kernel library runs whole: weights in place, cache blocks in an order made for its tiles.

Keys of a block are [K, S, D], D padded to 32; values [K, Dv, S], Dv padded to 16: a product over tokens then reads rows.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np
from dovetail.errors import CacheLost, PlatformError
from dovetail.graph import CacheGroup, Graph, Value
from dovetail.platform import (
    F32,
    I32,
    Batch,
    KVLayout,
    LateEdits,
    Pending,
    Program,
    Ready,
    SamplingColumns,
    Shape,
    Ticket,
    Tokens,
    WeightSource,
)
from dovetail_sdk.registers import Registers
from dovetail_sdk.sampling import HostSampler, Peaks

from dovetail_cpu import cost, measured
from dovetail_cpu.cache import BlockCache, check_blocks, record_bytes
from dovetail_cpu.feed import check_tokens, flat_table
from dovetail_cpu.held import HeldModel, check_block_size
from dovetail_cpu.paged import BLOCK_SIZE
from dovetail_cpu.settings import Settings

from .engine import Engine
from .library import Library
from .lower import lower
from .support import CACHE_FORM


class NativeModel(HeldModel):
    """A graph on the kernel library."""

    _made_by = "dovetail-cpu-2"
    _cache_form = CACHE_FORM

    def __init__(
        self, library: Library, graph: Graph, weights: WeightSource, settings: Settings
    ) -> None:
        super().__init__(graph)
        precision = settings.precision_with(library.kernels[0])
        kinds = ("int8_channel", "int4_group")
        activations = {kind: measured.activations(kind, precision) for kind in kinds}
        steps = lower(graph, weights, activations=activations)
        layers = max((layer for group in graph.cache for layer in group.layers), default=-1) + 1
        self._engine: Engine | None = Engine(library, steps, layers, settings.threads)
        self._sampler = sampler_of(graph)
        self._results: list[Results] = [Results(graph), Results(graph)]
        self._turn = 0

    # -------------------------------------------------------------------------------------------- cache

    def block_bytes(self, layout: KVLayout) -> tuple[int, ...]:
        self._check_layout(layout)
        return tuple(record_bytes(group, block_widths(group)) for group in layout.groups)

    def workspace(self, shape: Shape) -> int:
        return cost.activation_bytes(self._graph, shape)

    def allocate(self, layout: KVLayout, num_blocks: tuple[int, ...]) -> None:
        self._check_layout(layout)
        engine = self._open()
        self._settle()
        self._cache = None
        widths = tuple(block_widths(group) for group in layout.groups)
        self._cache = BlockCache(layout.groups, widths, num_blocks, together=True)
        for layer, (keys, values) in self._cache.layers.items():
            engine.set_layer(layer, keys, values)

    def _check_layout(self, layout: KVLayout) -> None:
        check_block_size(layout)
        if layout.form != CACHE_FORM:
            raise PlatformError(
                f"the cpu platform's kernels keep a {CACHE_FORM} cache, not {layout.form}; "
                f"use --kv-cache-dtype {CACHE_FORM}"
            )

    # -------------------------------------------------------------------------------------------- steps

    def compile(self, shape: Shape) -> Program:
        self._settle()
        self._open().reserve(shape.tokens, shape.outputs)
        # Logits of as many rows as there may be are memory that few servers ever use: it is taken when it is needed.
        for batch in cost.warm_up_batches(self._graph, replace(shape, rows=min(shape.rows, 2))):
            self._start(batch, batch.tokens).wait()
        return NativeProgram(self, shape)

    def _start(self, batch: Batch, tokens: I32) -> NativePending:
        counts = self._blocks().num_blocks if self._graph.cache else ()
        check_tokens(batch, tokens, self._vocabulary)
        if self._graph.cache:
            lengths = batch.past + np.diff(batch.row_starts)
            for table, count in zip(batch.tables, counts, strict=True):
                check_blocks(flat_table(table, lengths)[0], count)
        results = self._results[self._turn].take(len(tokens), len(batch.outputs))
        self._turn ^= 1
        peaks = peaked = None
        if "logits" in results:
            peaks, peaked = Peaks.of(len(batch.outputs)), list(results).index("logits")
        engine = self._open()
        engine.start(batch, tokens, tuple(results.values()), peaks, peaked or 0)
        return NativePending(engine, results, peaks, self._sampler, self._registers)

    def close(self) -> None:
        with contextlib.suppress(CacheLost):
            self._settle()
        if self._engine is not None:
            self._engine.close()
            self._engine = None
        self._cache = None

    def drop_cache(self) -> None:
        """Give the cache back; steps need another one."""
        self._settle()
        self._cache = None

    def _open(self) -> Engine:
        if self._engine is None:
            raise PlatformError("the model is closed; load it again")
        return self._engine


class Results:
    """Memory for the graph's outputs of one step, which grows and is otherwise used again."""

    def __init__(self, graph: Graph) -> None:
        self._values: dict[str, Value] = {
            name: graph.values[value] for name, value in graph.outputs.items()
        }
        self._arrays: dict[str, F32] = {}

    def take(self, tokens: int, outputs: int) -> dict[str, F32]:
        taken: dict[str, F32] = {}
        for name, value in self._values.items():
            rows = outputs if value.shape[0] == "N" else tokens
            kept = self._arrays.get(name)
            if kept is None or len(kept) < rows:
                widths = (int(axis) for axis in value.shape[1:])
                kept = self._arrays[name] = whole_lines((rows, *widths))
            taken[name] = kept[:rows]
        return taken


def whole_lines(shape: tuple[int, ...]) -> F32:
    """An array of nothing yet that begins where a line of the caches does, so that its lines can be written whole."""
    line = 64
    room = np.empty(int(np.prod(shape)) * 4 + line, np.uint8)
    skipped = -room.ctypes.data % line
    return room[skipped : skipped + int(np.prod(shape)) * 4].view(np.float32).reshape(shape)


class NativeProgram(Program):
    """Any step up to the shape; nothing is padded."""

    def __init__(self, model: NativeModel, shape: Shape) -> None:
        self.shape = shape
        self._model = model

    def run(self, batch: Batch) -> Pending:
        return self._model._run(batch)


class NativePending(Pending):
    """One step; its outputs are read in place until the next-but-one run."""

    def __init__(
        self,
        engine: Engine,
        results: dict[str, F32],
        peaks: Peaks | None,
        sampler: HostSampler | None,
        registers: Registers,
    ) -> None:
        self._engine = engine
        self._results = results
        self._peaks = peaks
        self._sampler = sampler
        self._registers = registers
        self._finished = False

    def done(self) -> bool:
        return self._finished or self._engine.done()

    def wait(self) -> None:
        if not self._finished:
            self._engine.wait()
            self._finished = True

    def sample(
        self, rows: I32, columns: SamplingColumns, late: LateEdits | None = None
    ) -> Ticket[Tokens]:
        if self._sampler is None:
            raise ValueError("the graph has no logits to sample from")
        self.wait()
        logits = self._results["logits"]
        tokens = self._sampler.sample_peaked(logits, rows, columns, late, self._peaks)
        self._registers.write(columns.slot, tokens.ids)
        return Ready(tokens)

    def fetch(self, output: str, rows: I32) -> Ticket[F32]:
        self.wait()
        return Ready(np.ascontiguousarray(self._results[output][rows]))


def block_widths(group: CacheGroup) -> tuple[int, int]:
    """Bytes of one layer's block of keys and of values."""
    tokens = 2 * group.kv_heads * BLOCK_SIZE
    return tokens * -(-group.key_width // 32) * 32, tokens * -(-group.value_width // 16) * 16


def sampler_of(graph: Graph) -> HostSampler | None:
    """For the logits of the graph, None if it has none."""
    if "logits" not in graph.outputs:
        return None
    return HostSampler(int(graph.values[graph.outputs["logits"]].shape[-1]))
