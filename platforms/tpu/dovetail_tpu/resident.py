"""What a loaded model has on the device: weights, the paged cache and the slots' tokens, handed from program to program."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import jax
import numpy as np
from dovetail.errors import CacheLost, OutOfMemory, PlatformError
from dovetail.graph import CacheGroup
from dovetail.platform import (
    I32,
    Batch,
    KVLayout,
    LateEdits,
    SamplingColumns,
    Shape,
    Ticket,
)
from numpy.typing import NDArray

from . import blocks
from .buckets import Bucket, ladder, padded
from .compiled import Programs
from .executable import Executable, compile_step, sampler
from .fill import check_step, fill_step
from .lower import Lowered
from .step import Flight, StepResult, TpuTicket
from .target import Target
from .trace import DTYPES, Array

SLOTS = 8192
"""Slots that a model keeps a token for."""


class Resident:
    """A graph on a device or a mesh; the methods that a LoadedModel and a BlockTransfer have are those of the contract."""

    def __init__(
        self,
        target: Target,
        lowered: Lowered,
        params: Mapping[str, Mapping[str, Array]],
        programs: Programs[Executable],
        key: str,
        vocabulary: int | None,
    ) -> None:
        self._target, self._lowered, self._programs, self._key = target, lowered, programs, key
        self._params: Mapping[str, Mapping[str, Array]] | None = params
        self._layout: KVLayout | None = None
        self._caches: tuple[Array, ...] = ()
        self._num_blocks: tuple[int, ...] = ()
        self._registers = target.put(np.zeros(SLOTS, np.int32))
        self._held: Flight | None = None
        self._executables: dict[Bucket, Executable] = {}  # for the cache that there is
        self._vocabulary = vocabulary
        graph = lowered.graph
        self.has_logits = "logits" in graph.outputs

    # -------------------------------------------------------------------------------------------- cache

    def block_bytes(self, layout: KVLayout) -> tuple[int, ...]:
        return tuple(self._bytes(layout, group) for group in self._lowered.graph.cache)

    def _bytes(self, layout: KVLayout, group: CacheGroup) -> int:
        return (
            prod(cache_shape(self._target, layout, group, 1)) * DTYPES[layout.form].dtype.itemsize
        )

    def workspace(self, shape: Shape) -> int:
        graph = self._lowered.graph
        bucket = ladder(shape, self._target.settings.chip)[-1]
        widest = max(
            prod(int(length) for length in value.shape[1:] if isinstance(length, int))
            for value in graph.values.values()
            if value.shape
        )
        rows = bucket.outputs * sum(
            int(graph.values[value].shape[-1]) for value in graph.outputs.values()
        )
        return 4 * (6 * bucket.tokens * widest + 4 * rows) + 4 * bucket.rows * bucket.blocks * 8

    def allocate(self, layout: KVLayout, num_blocks: tuple[int, ...]) -> None:
        self._open_params()
        self._drop_steps()
        for cache in self._caches:
            cache.delete()
        self._caches, self._layout = (), None
        self._executables.clear()
        grain = self._target.settings.chip.block_grain
        counts = [-(-count // grain) * grain for count in num_blocks]
        shapes = [
            cache_shape(self._target, layout, group, count)
            for group, count in zip(self._lowered.graph.cache, counts, strict=True)
        ]
        dtype = DTYPES[layout.form]
        wanted, free = sum(map(prod, shapes)) * dtype.dtype.itemsize, self._target.memory().free
        if wanted > free:
            raise OutOfMemory(f"a cache of {wanted} bytes; {free} are free on {self._target}")
        try:
            self._caches = tuple(self._target.zeros(shape, dtype) for shape in shapes)
            for cache in self._caches:
                cache.block_until_ready()
        except jax.errors.JaxRuntimeError as error:
            raise OutOfMemory(f"no room for a cache of {wanted} bytes: {error}") from error
        self._layout, self._num_blocks = layout, num_blocks

    def copy_blocks(self, group: int, sources: I32, targets: I32) -> None:
        self._flush()
        caches = self._ready()
        count = padded(sources.size)
        pairs = np.zeros((2, count), np.int32)
        pairs[0, : sources.size], pairs[1, : targets.size] = sources, targets
        self._replace(group, blocks.copy(caches[group], pairs))

    @property
    def block_format(self) -> str:
        layout = self._layout
        groups = ";".join(
            f"{len(g.layers)}x{g.kv_heads}x{g.key_width}+{g.value_width}"
            for g in self._lowered.graph.cache
        )
        kept = f"{layout.form} {layout.block_size}" if layout else "none"
        return f"tpu-1 L,K,S,W lanes={self._target.settings.chip.lanes} {kept} {groups}"

    def read_blocks(self, group: int, ids: I32, out: NDArray[np.uint8]) -> Ticket[None]:
        self._flush()
        wanted = _padded_ids(ids)
        found = blocks.gather(self._ready()[group], wanted)

        def read(numbers: NDArray[Any]) -> None:
            out[...] = numbers[: len(out)].reshape(len(out), -1).view(np.uint8)

        return TpuTicket(found, read)

    def write_blocks(self, group: int, ids: I32, data: NDArray[np.uint8]) -> Ticket[None]:
        self._flush()
        cache = self._ready()[group]
        layers, _, *rest = cache.shape
        wanted = _padded_ids(ids)
        numbers = np.zeros((len(wanted), layers, *rest), cache.dtype)
        numbers[: ids.size] = data.view(cache.dtype).reshape(-1, layers, *rest)
        self._replace(group, blocks.scatter(cache, wanted, numbers))
        return TpuTicket(self._registers + 0, lambda _: None)

    def _replace(self, group: int, cache: Array) -> None:
        self._caches = (*self._caches[:group], cache, *self._caches[group + 1 :])

    def _ready(self) -> tuple[Array, ...]:
        if self._layout is None:
            raise CacheLost("the model has no cache; allocate one first")
        return self._caches

    # -------------------------------------------------------------------------------------------- programs

    def compile(self, shape: Shape) -> tuple[Bucket, ...]:
        """Buckets up to a shape, those compiled that are to be before serving."""
        self._ready()
        buckets = ladder(shape, self._target.settings.chip)
        try:
            self.executable(buckets[-1])
            if self._target.settings.chip.eager == "all" or self._target.several_hosts:
                for bucket in buckets[:-1]:
                    self.executable(bucket)
        except jax.errors.JaxRuntimeError as error:
            raise _compile_error(error) from error
        return buckets

    def is_compiled(self, bucket: Bucket) -> bool:
        """Whether steps of that size can be run at once."""
        return (
            bucket in self._executables
            or self._programs.find(self._program_key(bucket)) is not None
        )

    def executable(self, bucket: Bucket) -> Executable:
        """The compiled step of a bucket, compiled now if it is not yet."""
        if bucket in self._executables:
            return self._executables[bucket]
        params, layout = self._open_params(), self._layout
        shapes = tuple((cache.shape, cache.dtype) for cache in self._ready())
        made = self._executables[bucket] = self._programs.get(
            self._program_key(bucket),
            lambda: compile_step(
                self._target, self._lowered, bucket, layout, params, shapes, SLOTS
            ),
        )
        return made

    def _program_key(self, bucket: Bucket) -> tuple[Any, ...]:
        shapes = tuple((cache.shape, str(cache.dtype)) for cache in self._caches)
        size = self._layout.block_size if self._layout else 0
        return self._key, bucket, shapes, size

    # -------------------------------------------------------------------------------------------- steps

    def run(self, batch: Batch, bucket: Bucket) -> Flight:
        """Take a step; it is launched as soon as it is known how it is sampled."""
        self._flush()
        self._ready()
        layout = self._layout
        check_step(batch, bucket, self._vocabulary, SLOTS, self._num_blocks)
        for group, pairs in enumerate(batch.copies):
            if pairs.size:
                self.copy_blocks(group, pairs[:, 0], pairs[:, 1])
        executable = self.executable(bucket)
        form = executable.format
        vector = fill_step(form, bucket, batch, layout)
        columns = form.get(vector, "columns")
        pending = Flight(
            self,
            lambda: self._launch(executable, vector),
            columns if self._target.settings.chip.fused_sampling else columns[:0],
            form.get(vector, "sampled"),
        )
        self._held = pending
        if not batch.outputs.size:
            pending.launched()
        return pending

    def _launch(self, executable: Executable, vector: I32) -> StepResult:
        caches, registers = self._ready(), self._registers
        try:
            self._caches, self._registers, outputs, words = executable.call(
                self._open_params(), caches, registers, vector
            )
        except jax.errors.JaxRuntimeError as error:
            raise CacheLost(f"XLA could not run a step: {error}") from error
        return StepResult(outputs, words)

    def forget(self, flight: Flight) -> None:
        """It is launched."""
        if self._held is flight:
            self._held = None

    def _flush(self) -> None:
        """Launch what is held: something that comes after it in order is about to be issued."""
        if self._held is not None:
            self._held.launched()

    def _drop_steps(self) -> None:
        if self._held is not None:
            self._held.drop()
            self._held = None

    def check_slots(self, slots: I32) -> None:
        """Raise ValueError for slots that are not kept."""
        if int(slots.max(initial=0)) >= SLOTS:
            raise ValueError(f"slot {int(slots.max())}; there are {SLOTS}")

    def sample(
        self, logits: Array, rows: I32, columns: SamplingColumns, late: LateEdits | None
    ) -> Array:
        """Draw for rows [n] of logits in a program of its own; words [n or more, 43]."""
        self._flush()
        registers, words = sampler(logits, self._registers, rows, columns, late)
        self._registers = self._target.settled(registers)
        return words

    def rows_of(self, output: Array, rows: I32) -> tuple[Array, I32]:
        """What comes to the host for some rows of an output, and where they are in it: all of it where the device is the
        host, else those rows alone."""
        if self._target.emulated:
            return output, rows
        return blocks.take(output, _padded_ids(rows)), np.arange(rows.size, dtype=np.int32)

    def _open_params(self) -> Mapping[str, Mapping[str, Array]]:
        if self._params is None:
            raise PlatformError("the model is closed; load it again")
        return self._params

    def close(self) -> None:
        self._drop_steps()
        self._params = None
        self._caches, self._layout = (), None


def cache_shape(target: Target, layout: KVLayout, group: CacheGroup, count: int) -> tuple[int, ...]:
    """[L, B, K, S, W] of a cache group on a member."""
    lanes = target.settings.chip.lanes
    width = -(-(group.key_width + group.value_width) // lanes) * lanes
    return (len(group.layers), count, group.kv_heads, layout.block_size, width)


def _padded_ids(ids: I32) -> I32:
    """ids [n] and zeros, as many as programs are made for."""
    made = np.zeros(padded(ids.size), np.int32)
    made[: ids.size] = ids
    return made


def _compile_error(error: Exception) -> Exception:
    """OutOfMemory where the compiler says that a program does not fit, else PlatformError."""
    text = str(error)
    if "RESOURCE_EXHAUSTED" in text:
        return OutOfMemory(f"a step does not fit the chip: {text}")
    return PlatformError(f"XLA cannot compile a step: {text}")
