"""A loaded model, as the contract has it."""

from __future__ import annotations

import numpy as np
from dovetail.platform import I32, KVLayout, LoadedModel, Program, Shape, Ticket
from numpy.typing import NDArray

from .program import TpuProgram
from .resident import Resident


class TpuModel(LoadedModel):
    """A graph on a device or a mesh."""

    def __init__(self, resident: Resident) -> None:
        self._resident = resident

    def block_bytes(self, layout: KVLayout) -> tuple[int, ...]:
        return self._resident.block_bytes(layout)

    def workspace(self, shape: Shape) -> int:
        return self._resident.workspace(shape)

    def allocate(self, layout: KVLayout, num_blocks: tuple[int, ...]) -> None:
        self._resident.allocate(layout, num_blocks)

    def compile(self, shape: Shape) -> Program:
        return TpuProgram(self._resident, self._resident.compile(shape))

    def copy_blocks(self, group: int, sources: I32, targets: I32) -> None:
        self._resident.copy_blocks(group, sources, targets)

    def close(self) -> None:
        self._resident.close()


class TransferModel(TpuModel):
    """On a single device: also a BlockTransfer."""

    @property
    def block_format(self) -> str:
        return self._resident.block_format

    def read_blocks(self, group: int, blocks: I32, out: NDArray[np.uint8]) -> Ticket[None]:
        return self._resident.read_blocks(group, blocks, out)

    def write_blocks(self, group: int, blocks: I32, data: NDArray[np.uint8]) -> Ticket[None]:
        return self._resident.write_blocks(group, blocks, data)
