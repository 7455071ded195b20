"""From a Batch to what a graph's kernels take: for any step, and for the steps of a bucket on arrays that stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from dovetail.platform import I32, Batch
from numpy.typing import NDArray
from torch import Tensor

from dovetail_sdk.runner import Step

from .registers import DeviceRegisters
from .staging import Staging
from .step import DeviceStep


@dataclass(frozen=True, slots=True)
class Given:
    """What a step is computed from: the graph's inputs by name, and where its tokens are kept."""

    inputs: dict[str, Tensor]
    step: DeviceStep


def eager(batch: Batch, block_size: int, staging: Staging, registers: DeviceRegisters) -> Given:
    """Exact lengths, fresh arrays."""
    host = Step.of(batch, block_size)
    types = batch.token_types
    parts = [
        batch.tokens,
        batch.positions,
        batch.outputs,
        batch.row_starts,
        batch.past,
        batch.slots,
        *([] if types is None else [types]),
        *batch.tables,
    ]
    sent = staging.send(parts)
    tokens, positions, outputs, starts, past, slots = sent[:6]
    if (batch.tokens < 0).any():
        tokens = registers.resolve(tokens)
    starts.host = host.starts  # type: ignore[attr-defined]  # for kernels that go row by row
    lengths = np.diff(host.starts)

    def upload(array: NDArray[Any]) -> Tensor:
        return staging.send([array])[0]

    step = DeviceStep(
        tokens=batch.tokens.size,
        rows=batch.slots.size,
        most_new=int(lengths.max(initial=0)),
        longest=int((host.past + lengths).max(initial=0)),
        starts=starts,
        past=past,
        tables=tuple(sent[6 + (types is not None) :]),
        slots=slots,
        block_size=block_size,
        host=host,
        upload=upload,
    )
    inputs = {"tokens": tokens, "positions": positions, "outputs": outputs, "row_starts": starts}
    if types is not None:
        inputs["token_types"] = sent[6]
    return Given(inputs, step)


def one_each(batch: Batch) -> bool:
    """Whether every row has one new token and wants its output: what buckets are for."""
    rows = batch.slots.size
    return (
        rows > 0
        and batch.tokens.size == rows
        and batch.outputs.size == rows
        and bool((batch.outputs == np.arange(rows)).all())
        and batch.token_types is None
    )


class BucketInputs:
    """The arrays of steps of up to `rows` rows of one token each; what is captured reads these.

    blocks  columns of the tables
    planes  of rotary positions
    """

    def __init__(
        self,
        rows: int,
        blocks: int,
        planes: int,
        groups: int,
        block_size: int,
        device: torch.device,
    ) -> None:
        self.rows, self._blocks = rows, blocks

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.int32, device=device)

        self.tokens, self.positions = zeros(rows), zeros(planes, rows)
        self.past, self.slots = zeros(rows), zeros(rows)
        self.tables = tuple(zeros(rows, blocks) for _ in range(groups))
        self._block_size = block_size
        self._every = torch.arange(rows + 1, dtype=torch.int32, device=device)

    def fill(self, batch: Batch, staging: Staging) -> None:
        """Put a step in; rows beyond its own become padding."""
        rows, more = batch.slots.size, self.rows - batch.slots.size
        width = max((table.shape[1] for table in batch.tables), default=0)
        parts: list[I32] = [
            _padded(batch.tokens, more),
            _padded(batch.positions, more),
            _padded(batch.past, more),
            _padded(batch.slots, more),
        ]
        for table in batch.tables:
            wide = np.zeros((self.rows, max(width, 1)), np.int32)
            wide[:rows, : table.shape[1]] = table
            parts.append(wide)
        tokens, positions, past, slots, *tables = staging.send(parts)
        self.tokens.copy_(tokens)
        self.positions.copy_(positions)
        self.past.copy_(past)
        self.slots.copy_(slots)
        for mine, new in zip(self.tables, tables, strict=True):
            mine[:, : new.shape[1]].copy_(new)

    def given(self, registers: DeviceRegisters) -> Given:
        """As kernels see it, to be called while they are captured: ~v is looked up each time."""
        step = DeviceStep(
            tokens=self.rows,
            rows=self.rows,
            most_new=1,
            longest=self._blocks * self._block_size,
            starts=self._every,
            past=self.past,
            tables=self.tables,
            slots=self.slots,
            block_size=self._block_size,
            host=None,
            upload=_refuse,
        )
        inputs = {
            "tokens": registers.resolve(self.tokens),
            "positions": self.positions,
            "outputs": self._every[: self.rows],
            "row_starts": self._every,
        }
        return Given(inputs, step)


def _padded(array: I32, more: int) -> I32:
    """With zeros behind its last axis."""
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, more)]) if more else array


def _refuse(array: NDArray[Any]) -> Tensor:
    raise RuntimeError("a kernel sends host numbers to the device in a step that is captured")
