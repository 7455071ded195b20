"""Broken promises: what is claimed and not kept, and calls that may not fail and do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dovetail.errors import PlatformError
from dovetail.graph import Graph
from dovetail.platform import (
    F32,
    I32,
    Batch,
    CacheForm,
    Device,
    DeviceInfo,
    DeviceOption,
    KVLayout,
    LateEdits,
    LoadedModel,
    Memory,
    Pending,
    SamplingColumns,
    Shape,
    Support,
    Ticket,
    Tokens,
    WeightSource,
)

from dovetail_sdk.runner import KernelProgram

from .plant import CopyDevice, CopyModel, CopyPlatform, Mutant, mutant

FORMS = tuple(CacheForm(name, 1, 1024) for name in ("f32", "bf16", "f16"))


class ProbeRaises(CopyPlatform):
    def probe(self) -> list[DeviceInfo]:
        raise RuntimeError("the driver is not installed")


class ProbeRepeats(CopyPlatform):
    """Two devices of one id."""

    def probe(self) -> list[DeviceInfo]:
        return super().probe() * 2


class OpensOnce(CopyPlatform):
    """A device cannot be opened again after it was closed."""

    _opened = 0

    def open(self, devices: Sequence[DeviceInfo]) -> Device:
        type(self)._opened += 1
        if self._opened > 1:
            raise PlatformError("the device is busy")
        return super().open(devices)


class OptionOverstated(CopyPlatform):
    """Declares up to 64 threads and opens with up to 32."""

    options = (DeviceOption(name="threads", help="that compute", default="1", low=1, high=64),)

    def open_with(self, devices: Sequence[DeviceInfo], options: Mapping[str, str]) -> Device:
        if int(options.get("threads", "1")) > 32:
            raise PlatformError("at most 32 threads")
        return self.open(devices)


class OtherContract(CopyPlatform):
    contract = 99


class DeviceClosesOnce(CopyDevice):
    _closed = False

    def close(self) -> None:
        if self._closed:
            raise RuntimeError("closed twice")
        self._closed = True


class ModelClosesOnce(CopyModel):
    _closed = False

    def close(self) -> None:
        if self._closed:
            raise RuntimeError("closed twice")
        self._closed = True


class SupportsInPart(CopyDevice):
    """Says nothing about the last node."""

    def supports(self, graph: Graph) -> tuple[Support, ...]:
        return super().supports(graph)[:-1]


class SupportsBackwards(CopyDevice):
    def supports(self, graph: Graph) -> tuple[Support, ...]:
        return super().supports(graph)[::-1]


class RefusesWithoutReason(CopyDevice):
    """Does not run an op that it declares, and does not say why."""

    def supports(self, graph: Graph) -> tuple[Support, ...]:
        return tuple(
            Support(node.name, None) if node.op == "soft_cap" else answer
            for node, answer in zip(graph.nodes, super().supports(graph), strict=True)
        )


class NoHalfAfterAll(CopyDevice):
    def load(self, graph: Graph, weights: WeightSource) -> LoadedModel:
        if graph.dtype == "f16":
            raise PlatformError("f16 is not built in")
        return super().load(graph, weights)


class NoInt4AfterAll(CopyDevice):
    def load(self, graph: Graph, weights: WeightSource) -> LoadedModel:
        if any(weight.form.kind == "int4_group" for weight in graph.weights.values()):
            raise PlatformError("int4 is not built in")
        return super().load(graph, weights)


class MoreFreeThanThereIs(CopyDevice):
    def memory(self) -> Memory:
        real = super().memory()
        return Memory(total=real.free // 2, free=real.free, largest_allocation=real.free, host=True)


class OneFormOnly(CopyModel):
    def allocate(self, layout: KVLayout, num_blocks: tuple[int, ...]) -> None:
        if layout.form == "bf16":
            raise PlatformError("no kernels for caches in bf16")
        super().allocate(layout, num_blocks)


class SmallBlocksOnly(CopyModel):
    def allocate(self, layout: KVLayout, num_blocks: tuple[int, ...]) -> None:
        if layout.block_size > 64:
            raise PlatformError("blocks of more than 64 tokens")
        super().allocate(layout, num_blocks)


class EvenBlocksOnly(CopyModel):
    def allocate(self, layout: KVLayout, num_blocks: tuple[int, ...]) -> None:
        if layout.block_size % 2:
            raise PlatformError("blocks of an odd number of tokens")
        super().allocate(layout, num_blocks)


class NegativeWorkspace(CopyModel):
    def workspace(self, shape: Shape) -> int:
        return -1


class OneStepOnly(KernelProgram):
    """A second step before the first was waited for is refused."""

    _last: Waiting | None = None

    def run(self, batch: Batch) -> Pending:
        if self._last is not None and not self._last._waited:
            raise PlatformError("a step is in flight")
        self._last = Waiting(super().run(batch))
        return self._last


class Waiting(Pending):
    """Knows whether it was waited for."""

    def __init__(self, inner: Pending) -> None:
        self._inner, self._waited = inner, False

    def done(self) -> bool:
        return self._inner.done()

    def wait(self) -> None:
        self._waited = True

    def sample(
        self, rows: I32, columns: SamplingColumns, late: LateEdits | None = None
    ) -> Ticket[Tokens]:
        self._waited = True
        return self._inner.sample(rows, columns, late)

    def fetch(self, output: str, rows: I32) -> Ticket[F32]:
        self._waited = True
        return self._inner.fetch(output, rows)


class WantsOutputs(KernelProgram):
    """A step without outputs raises."""

    def run(self, batch: Batch) -> Pending:
        if not batch.outputs.size:
            raise PlatformError("no outputs")
        return super().run(batch)


class WantsUnpaddedTables(KernelProgram):
    """Tables wider than their rows need are taken for longer rows."""

    def run(self, batch: Batch) -> Pending:
        size = self._state.cache().layout.block_size
        for table in batch.tables:
            if table.shape[1] * size >= int(batch.past.max()) + batch.tokens.size + size:
                raise PlatformError("a table is too wide")
        return super().run(batch)


class FailsToFuse:
    """A kernel that is not there."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        raise PlatformError("not built in")


def claims(name: str, breaks: str, *layers: str, **parts: Any) -> Mutant:
    return mutant(name, breaks, *(layers or ("contract",)), **parts)


MUTANTS = (
    claims("probe-raises", "probe raises where a driver is missing", base=ProbeRaises),
    claims("probe-repeats", "two devices have one id", base=ProbeRepeats),
    claims("opens-once", "a closed device cannot be opened again", base=OpensOnce),
    claims("other-contract", "it was built against another contract", base=OtherContract),
    claims("device-closes-once", "closing a device twice raises", device=DeviceClosesOnce),
    claims("model-closes-once", "closing a model twice raises", model=ModelClosesOnce),
    claims("supports-in-part", "supports says nothing about the last node", device=SupportsInPart),
    claims(
        "supports-backwards",
        "supports answers in another order than the nodes have",
        device=SupportsBackwards,
    ),
    claims(
        "refuses-without-reason",
        "supports refuses a declared op without a reason",
        "contract",
        "ops",
        ops="^soft_cap$",
        device=RefusesWithoutReason,
    ),
    claims(
        "dtype-overstated",
        "f16 is declared, and a graph in f16 does not load",
        "contract",
        "ops",
        ops="^linear$",
        device=NoHalfAfterAll,
    ),
    claims(
        "weights-overstated",
        "int4 weights are declared and do not load",
        "contract",
        "ops",
        ops="^linear$",
        device=NoInt4AfterAll,
    ),
    claims(
        "op-overstated",
        "an op is declared that no kernel runs",
        "ops",
        ops="^add_rms_norm$",
        kernels={"add_rms_norm": FailsToFuse()},
    ),
    claims(
        "cache-overstated",
        "a cache form is declared that cannot be allocated",
        "contract",
        "cache",
        model=OneFormOnly,
    ),
    claims(
        "unknown-form",
        "a cache form is declared of which nothing is known",
        "contract",
        "cache",
        capabilities={"cache_forms": (*FORMS, CacheForm("u3", 1, 1024))},
    ),
    claims(
        "large-blocks-overstated",
        "blocks of 1024 tokens are declared, and 64 is the most",
        "contract",
        "cache",
        model=SmallBlocksOnly,
    ),
    claims(
        "odd-blocks-overstated",
        "any number of tokens per block is declared, and odd ones are refused",
        "contract",
        "cache",
        model=EvenBlocksOnly,
    ),
    claims(
        "option-overstated",
        "an option is declared up to 64, and refused above 32",
        base=OptionOverstated,
    ),
    claims(
        "flight-overstated",
        "two steps in flight are declared, and the second is refused",
        "steps",
        program=OneStepOnly,
        capabilities={"steps_in_flight": 2},
    ),
    claims("no-flight", "no step may be in flight at all", capabilities={"steps_in_flight": 0}),
    claims("free-overstated", "more memory is free than there is", device=MoreFreeThanThereIs),
    claims(
        "workspace-negative",
        "a step needs less than no memory",
        "contract",
        "programs",
        model=NegativeWorkspace,
    ),
    claims(
        "outputs-wanted",
        "a step without outputs raises",
        "ops",
        "steps",
        "programs",
        ops="^linear$",
        program=WantsOutputs,
    ),
    claims(
        "padded-tables-refused",
        "zeros past the end of a row's table are refused",
        "programs",
        "cache",
        program=WantsUnpaddedTables,
    ),
)
