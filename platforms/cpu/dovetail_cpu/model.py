"""A loaded model: compiled for a cache form, fed step by step.

One step runs at a time. Two infer requests take turns, so that the logits of a step outlive the next `run`, as the
contract asks; they share weights, cache and OpenVINO's one stream of execution.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import openvino as ov
from dovetail.errors import CacheLost, OutOfMemory, PlatformError
from dovetail.graph import Graph
from dovetail.platform import (
    I32,
    Batch,
    KVLayout,
    Pending,
    Program,
    Shape,
)
from dovetail_sdk.sampling import HostSampler

from . import cost
from .cache import BlockCache
from .feed import Feed, Limits
from .held import HeldModel, check_block_size
from .lower import Lowered
from .lowering import group_widths
from .paged import TYPES, BlockShapes, block_widths, cache_shapes
from .settings import Settings, compile_settings
from .step import CpuPending, Lane
from .trial import trial


class CpuModel(HeldModel):
    """A graph on OpenVINO."""

    _made_by = "openvino-2026.4"

    def __init__(self, core: ov.Core, graph: Graph, lowered: Lowered, settings: Settings) -> None:
        super().__init__(graph)
        self._settings = settings
        self._sampler = make_sampler(graph)
        self._core = core
        self._lowered: Lowered | None = lowered
        self._compiled: ov.CompiledModel | None = None
        self._form = ""
        self._tensors: dict[str, ov.Tensor] = {}
        self._lanes: list[Lane] = []
        self._turn = 0
        self._packed = False

    # -------------------------------------------------------------------------------------------- cache

    def block_bytes(self, layout: KVLayout) -> tuple[int, ...]:
        pairs = zip(layout.groups, self._shapes(layout), strict=True)
        return tuple(
            len(group.layers) * sum(block_widths(shapes, layout.form)) for group, shapes in pairs
        )

    def workspace(self, shape: Shape) -> int:
        packed = 0 if self._packed else cost.packed_weight_bytes(self._graph)
        return packed + cost.activation_bytes(self._graph, shape)

    def allocate(self, layout: KVLayout, num_blocks: tuple[int, ...]) -> None:
        shapes = self._shapes(layout)
        with contextlib.suppress(CacheLost):  # that is why it is called again
            self._settle()
        self._cache = None
        self._lanes = []
        self._compile(layout.form)
        self._check_shapes(layout, shapes)
        widths = tuple(block_widths(pair, layout.form) for pair in shapes)
        self._cache = BlockCache(layout.groups, widths, num_blocks)
        self._tensors = make_tensors(self._cache, layout, shapes)
        self._lanes = [self._lane(), self._lane()]

    @property
    def _cache_form(self) -> str:
        return self._form

    def _shapes(self, layout: KVLayout) -> tuple[BlockShapes, ...]:
        """Block shapes per group; raises PlatformError where the layout cannot be had."""
        check_block_size(layout)
        found = []
        for widths in group_widths(self._graph):
            tried = trial(widths, self._graph.dtype, layout.form)
            if tried.shapes is None:
                raise PlatformError(
                    f"{tried.reason}; choose another --kv-cache-dtype or --dtype "
                    f"(a {self._graph.dtype} cache works with {self._graph.dtype} computation)"
                )
            found.append(tried.shapes)
        return tuple(found)

    def _check_shapes(self, layout: KVLayout, shapes: tuple[BlockShapes, ...]) -> None:
        """The trial's block shapes are what the whole model has; block_bytes promised them."""
        for group, pair in zip(layout.groups, shapes, strict=True):
            for layer in group.layers:
                if (found := cache_shapes(self._model(), layer)) != pair:
                    raise PlatformError(
                        f"OpenVINO pages layer {layer} as {found}, and {pair} was expected"
                    )

    # -------------------------------------------------------------------------------------------- steps

    def compile(self, shape: Shape) -> Program:
        lane = self._lane()
        for batch in cost.warm_up_batches(self._graph, shape):
            lane.start(batch, batch.tokens, self._limits())
            lane.request.wait()
        self._packed = True
        return CpuProgram(self._run, shape)

    def _start(self, batch: Batch, tokens: I32) -> CpuPending:
        lane = self._lanes[self._turn]
        self._turn ^= 1
        lane.start(batch, tokens, self._limits())
        return CpuPending(lane.request, self._sampler, self._registers)

    def close(self) -> None:
        with contextlib.suppress(CacheLost):  # the step's owner is told; closing never raises
            self._settle()
        self._running = None
        self._lanes = []
        self._compiled = None  # before the memory it reads
        self._cache = None
        self._lowered = None

    def _limits(self) -> Limits:
        return Limits(self._vocabulary, self._cache.num_blocks if self._cache else ())

    def _lane(self) -> Lane:
        request = self._model().create_infer_request()
        if self._graph.cache:
            for name, tensor in self._tensors.items():
                request.set_tensor(name, tensor)
        return Lane(request, Feed(request, self._graph.inputs, len(self._graph.cache)))

    def _model(self) -> ov.CompiledModel:
        if self._compiled is None:
            raise PlatformError("the model is closed, or no cache was allocated")
        return self._compiled

    def _compile(self, form: str) -> None:
        """Compile for a cache form, unless that is what is there already."""
        if self._lowered is None:
            raise PlatformError("the model is closed; load it again")
        if self._compiled is not None and self._form == form:
            return
        self._compiled, self._packed = None, False
        settings = compile_settings(self._graph, form, self._settings)
        try:
            self._compiled = self._core.compile_model(self._lowered.model, "CPU", settings)
        except MemoryError as error:
            raise OutOfMemory(f"no memory to compile {self._graph.name} for the CPU") from error
        except RuntimeError as error:
            raise PlatformError(f"OpenVINO cannot compile {self._graph.name}: {error}") from error
        self._form = form


class CpuProgram(Program):
    """Any step up to the shape: OpenVINO's shapes are dynamic, nothing is padded."""

    def __init__(self, start: Callable[[Batch], Pending], shape: Shape) -> None:
        self.shape = shape
        self._start = start

    def run(self, batch: Batch) -> Pending:
        return self._start(batch)


def make_tensors(
    cache: BlockCache, layout: KVLayout, shapes: tuple[BlockShapes, ...]
) -> dict[str, ov.Tensor]:
    """The cache's memory as tensors, by the name of the model input they are set on."""
    tensors = {}
    for group, pair in zip(layout.groups, shapes, strict=True):
        for layer in group.layers:
            for kind, plane, shape in zip(("key", "value"), cache.layers[layer], pair, strict=True):
                tensor = ov.Tensor(plane, [len(plane), *shape], TYPES[layout.form])
                tensors[f"{kind}_cache.{layer}"] = tensor
    return tensors


def make_sampler(graph: Graph) -> HostSampler | None:
    """For the logits of the graph, None if it has none."""
    if "logits" not in graph.outputs:
        return None
    return HostSampler(int(graph.values[graph.outputs["logits"]].shape[-1]))
