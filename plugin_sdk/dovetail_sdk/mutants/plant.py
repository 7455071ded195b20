"""A copy of the reference platform of which any part can be exchanged for a broken one.

The copy takes calls as they come, where the reference refuses what no engine may do: a mutant is to be wrong in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from dovetail.graph import Graph
from dovetail.platform import (
    I32,
    Device,
    DeviceInfo,
    KVLayout,
    LoadedModel,
    Program,
    Shape,
    WeightSource,
)

from dovetail_sdk.reference import ReferencePlatform
from dovetail_sdk.reference.platform import KERNELS, ReferenceDevice
from dovetail_sdk.registers import Calls, Registers
from dovetail_sdk.runner import KernelDevice, KernelModel, KernelProgram, NumpyBackend, PagedCache
from dovetail_sdk.runner.call import calls
from dovetail_sdk.runner.state import ModelState
from dovetail_sdk.sampling import HostSampler


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One planted fault.

    name      unique; also what the platform calls itself
    breaks    what it gets wrong, in one line
    layers    layers of the conformance suite of which one must catch it
    ops       the ops it is looked for in (a regular expression), None for all
    """

    name: str
    breaks: str
    layers: tuple[str, ...]
    ops: str | None
    platform: type[CopyPlatform]


class Trusting(Calls):
    """Checks nothing."""

    def check_tokens(self, tokens: I32) -> None:
        pass

    def check_sample(self, run: int) -> None:
        pass

    def check_fetch(self, run: int) -> None:
        pass


class CopyModel(KernelModel):
    """A model of the reference platform, made of the parts of its device."""

    _state: ModelState

    def __init__(self, state: ModelState, parts: Parts) -> None:
        super().__init__(state, checked=False)
        self._parts = parts

    def allocate(self, layout: KVLayout, num_blocks: tuple[int, ...]) -> None:
        super().allocate(layout, num_blocks)
        self._state.paged = self._parts.cache(self._state.backend, layout, num_blocks)

    def compile(self, shape: Shape) -> Program:
        return self._parts.program(self._state, shape)


class CopyDevice(KernelDevice):
    """The reference platform's device with kernels and capabilities of its parts."""

    def __init__(self, parts: Parts) -> None:
        kernels = dict(KERNELS)
        for op, function in parts.kernels.items():
            kernels[op] = replace(KERNELS[op], call=function)
        super().__init__(NumpyBackend(), kernels, ReferenceDevice().capabilities)
        features = ReferenceDevice().capabilities.features
        self.capabilities = replace(
            self.capabilities, **{"features": features, **parts.capabilities}
        )
        self._parts = parts

    def load(self, graph: Graph, weights: WeightSource) -> LoadedModel:
        parts = self._parts
        steps = calls(graph, parts.source(weights), self._kernels, self._backend)
        state = ModelState(graph, steps, self._backend)
        state.calls = Trusting(0)
        state.sampler = parts.sampler(state.sampler.vocab_size)
        state.registers = parts.registers()
        return parts.model(state, parts)


def as_it_is(weights: WeightSource) -> WeightSource:
    """The weights that were given."""
    return weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a copy is made of. The defaults are the reference platform's.

    kernels       op -> what computes it instead
    capabilities  fields that are claimed differently
    source        what the model reads its weights through
    """

    kernels: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    source: Callable[[WeightSource], WeightSource] = as_it_is
    device: type[CopyDevice] = CopyDevice
    model: type[CopyModel] = CopyModel
    program: type[KernelProgram] = KernelProgram
    cache: type[PagedCache] = PagedCache
    sampler: type[HostSampler] = HostSampler
    registers: type[Registers] = Registers


class CopyPlatform(ReferencePlatform):
    """The reference platform under another name. Subclasses have other parts."""

    name = "copy"
    rank: int | None = None  # type: ignore[assignment]  # only when named
    _parts: ClassVar[Parts] = Parts()

    def open(self, devices: Sequence[DeviceInfo]) -> Device:
        return self._parts.device(self._parts)


def mutant(
    name: str,
    breaks: str,
    *layers: str,
    ops: str | None = None,
    base: type[CopyPlatform] = CopyPlatform,
    **parts: Any,
) -> Mutant:
    """A mutant whose platform is `base` with other parts."""
    changed = replace(base._parts, **parts)
    platform = type("Mutant", (base,), {"name": name, "_parts": changed, "__doc__": breaks})
    return Mutant(name=name, breaks=breaks, layers=layers, ops=ops, platform=platform)
