"""One program of the library: its memory, its threads, and the step that it runs."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
from dovetail.errors import CacheLost, OutOfMemory
from dovetail.platform import F32, I32, Batch
from dovetail_sdk.sampling import Peaks
from numpy.typing import NDArray

from dovetail_cpu.feed import flat_table

from . import bindings
from .library import Library
from .steps import Steps


class Engine:
    """A plan made ready to run. `start` copies nothing: the arrays of a step live here until the next.

    by_rows  products of few tokens read each row of a weight from end to end, instead of 16 rows at a time
    Not for several threads at once; `wait` and `done` may be called from any.
    """

    def __init__(
        self,
        library: Library,
        steps: Steps,
        num_layers: int,
        threads: int,
        kernels: str = "",
        by_rows: bool = True,
    ) -> None:
        self.kernels = kernels or library.kernels[0]
        self._library = library.handle
        self._steps = steps  # what the library's structs point into
        plan = steps.plan(num_layers)
        made = self._library.dovetail_new(
            self.kernels.encode(), threads, by_rows, ctypes.byref(plan)
        )
        if not made:
            raise ValueError(f"kernels {self.kernels!r} are not usable here")
        self._program: int | None = made
        self._kept: object = None

    def set_layer(self, layer: int, keys: NDArray[np.uint8], values: NDArray[np.uint8]) -> None:
        """Cache memory of a layer, [blocks, bytes of a block] each, which the caller keeps alive."""
        where = keys.ctypes.data, values.ctypes.data, keys.strides[0], values.strides[0]
        self._library.dovetail_set_layer(self._program, layer, *where)

    def reserve(self, tokens: int, outputs: int) -> None:
        """Take the memory for steps up to that size; raises OutOfMemory."""
        if not self._library.dovetail_reserve(self._program, tokens, outputs):
            raise OutOfMemory(f"no memory for the values of a step of {tokens} tokens")

    def start(
        self,
        batch: Batch,
        tokens: I32,
        results: Sequence[F32],
        peaks: Peaks | None = None,
        peaked: int = 0,
    ) -> None:
        """Run a step; results are written when it is done, and the peaks of the `peaked`-th of them."""
        lengths = batch.past + np.diff(batch.row_starts)
        tables = [flat_table(table, lengths) for table in batch.tables]
        arrays = [tokens, batch.positions[0], batch.row_starts, batch.past, batch.outputs]
        arrays = [np.array(array, np.int32, order="C") for array in arrays]
        flat = [np.ascontiguousarray(indices, np.int32) for indices, _ in tables]
        begins = [np.ascontiguousarray(starts, np.int32) for _, starts in tables]
        inputs = bindings.Inputs(
            *(array.ctypes.data for array in arrays),
            pointers(flat),
            pointers(begins),
            pointers(results),
            peaks.values.ctypes.data if peaks is not None else None,
            peaks.ids.ctypes.data if peaks is not None else None,
            peaked if peaks is not None else -1,
            len(tokens),
            len(batch.past),
            len(batch.outputs),
        )
        self.wait()
        self._kept = (arrays, flat, begins, results, peaks, inputs)
        if not self._library.dovetail_start(self._program, ctypes.byref(inputs)):
            raise CacheLost(f"no memory for the values of a step of {len(tokens)} tokens")

    def wait(self) -> None:
        if self._program is not None:
            self._library.dovetail_wait(self._program)

    def done(self) -> bool:
        return self._program is None or bool(self._library.dovetail_done(self._program))

    def spent(self) -> dict[str, float]:
        """Seconds spent in each op since the engine was made."""
        numbers = (ctypes.c_int64 * len(bindings.OPS))()
        self._library.dovetail_spent(self._program, numbers, len(numbers))
        return {op: 1e-9 * value for op, value in zip(bindings.OPS, numbers, strict=True)}

    def close(self) -> None:
        """End its threads and give its memory back. Twice does no harm."""
        if self._program is not None:
            self.wait()
            program, self._program = self._program, None
            self._library.dovetail_delete(program)


def pointers(arrays: Sequence[NDArray[np.generic]]) -> ctypes.Array[ctypes.c_void_p]:
    """Their addresses, as the library takes them."""
    return (ctypes.c_void_p * max(1, len(arrays)))(*(array.ctypes.data for array in arrays))
