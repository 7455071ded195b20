"""The fault platform's devices and models: those of the null platform, with the faults in front."""

from __future__ import annotations

from collections.abc import Sequence

from dovetail.graph import Graph
from dovetail.platform import (
    I32,
    Device,
    DeviceInfo,
    KVLayout,
    LoadedModel,
    Platform,
    Program,
    Shape,
    Ticket,
    WeightSource,
)
from numpy import uint8
from numpy.typing import NDArray

from dovetail_sdk.null.platform import PRETENDED_BYTES, NullDevice, NullModel

from .faults import EXAMPLES, Faults
from .program import FaultProgram
from .state import State


class FaultPlatform(Platform):
    """Only when named.

    ids  further devices to list
    """

    name = "fault"

    def __init__(self, *ids: str) -> None:
        self._ids = ids

    def probe(self) -> list[DeviceInfo]:
        """One device per example, alone and with two steps in flight, and those that were asked for."""
        listed = (*EXAMPLES, *(f"ahead2+{example}" for example in EXAMPLES), *self._ids)
        return [
            DeviceInfo(
                id=device_id,
                description=f"no arithmetic, planted faults: {device_id}",
                memory_bytes=PRETENDED_BYTES,
            )
            for device_id in dict.fromkeys(listed)
        ]

    def open(self, devices: Sequence[DeviceInfo]) -> Device:
        """The first of the devices. Raises PlatformBroken for a word that is not known."""
        return FaultDevice(Faults.parse(devices[0].id))


class FaultDevice(NullDevice):
    """Loads models that fail as it was told."""

    def __init__(self, faults: Faults) -> None:
        super().__init__(steps_in_flight=faults.steps_in_flight, strict=faults.strict)
        self._faults = faults

    def load(self, graph: Graph, weights: WeightSource) -> LoadedModel:
        state = State(self._faults)
        state.call("oom-load", f"the weights of {graph.name} do not fit")
        inner = super().load(graph, weights)
        assert isinstance(inner, NullModel)
        return FaultModel(inner, state)


class FaultModel(LoadedModel):
    """A null model whose calls may fail."""

    block_format = NullModel.block_format

    def __init__(self, inner: NullModel, state: State) -> None:
        self._inner = inner
        self._state = state

    def block_bytes(self, layout: KVLayout) -> tuple[int, ...]:
        return self._inner.block_bytes(layout)

    def workspace(self, shape: Shape) -> int:
        return self._inner.workspace(shape)

    def allocate(self, layout: KVLayout, num_blocks: tuple[int, ...]) -> None:
        self._state.call("oom-allocate", f"{num_blocks} cache blocks do not fit")
        self._inner.allocate(layout, num_blocks)

    def compile(self, shape: Shape) -> Program:
        self._state.call("oom-compile", f"a program for {shape} does not fit")
        return FaultProgram(self._state, self._inner.compile(shape))

    def copy_blocks(self, group: int, sources: I32, targets: I32) -> None:
        self._inner.copy_blocks(group, sources, targets)

    def read_blocks(self, group: int, blocks: I32, out: NDArray[uint8]) -> Ticket[None]:
        """See BlockTransfer."""
        return self._inner.read_blocks(group, blocks, out)

    def write_blocks(self, group: int, blocks: I32, data: NDArray[uint8]) -> Ticket[None]:
        """See BlockTransfer."""
        return self._inner.write_blocks(group, blocks, data)

    def close(self) -> None:
        self._state.closed.set()
        self._inner.close()
