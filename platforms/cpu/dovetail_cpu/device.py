"""The open device: what it can do, found out by trying, and what it would do with a graph."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

import openvino as ov
from dovetail.errors import PlatformError
from dovetail.graph import BF16, F16, F32, INT8, Graph, Node, WeightForm
from dovetail.platform import (
    CacheForm,
    Capabilities,
    Device,
    Feature,
    LoadedModel,
    Memory,
    Support,
    WeightSource,
)

from . import host
from .lower import lower
from .lowering import attention_widths
from .model import CpuModel
from .native.choice import ChosenModel
from .native.library import Library, find
from .native.model import NativeModel
from .native.support import usable
from .ops import ACTIVATIONS, LOWERINGS
from .paged import BLOCK_SIZE, TYPES, AttentionWidths
from .settings import Settings
from .trial import shared_core, trial

log = logging.getLogger("dovetail.cpu")

_CAPABILITY = {"f32": "FP32", "bf16": "BF16", "f16": "FP16"}
_USUAL = AttentionWidths(heads=4, kv_heads=2, key_width=64, value_width=64)
_INT4_GROUPS = (128, 64, 32)
_ATTENTIONS = ("attention", "attention_write")


def open_device(options: Mapping[str, str]) -> Device:
    """Start OpenVINO and find out what works; raises PlatformError where paged attention does not.

    options  as CpuPlatform declares them
    """
    if not hasattr(ov.op, "_PagedAttentionExtension"):
        raise PlatformError(
            f"openvino {ov.__version__} has no paged attention; install openvino 2026.4"
        )
    if reason := trial(_USUAL, "f32", "f32").reason:
        raise PlatformError(f"the cpu platform cannot be used: {reason}")
    settings = Settings.of(options)
    if settings.cpus:
        host.keep_to(settings.cpus)  # OpenVINO's threads are started by this one and inherit it
    log.info("threads=%d cpus=%s", settings.threads, settings.cpus or "any")
    return CpuDevice(shared_core(), settings)


class CpuDevice(Device):
    """The processor, all usable cores of it unless the settings say otherwise."""

    def __init__(self, core: ov.Core, settings: Settings) -> None:
        self._core = core
        self._settings = settings
        dtypes = compute_dtypes(core)
        self.capabilities = Capabilities(
            ops=dict.fromkeys(LOWERINGS, 1),
            compute_dtypes=dtypes,
            weight_forms=weight_forms(),
            cache_forms=cache_forms(dtypes),
            fused_ops=("attention_write",),
            rewrites=frozenset(),
            columns=frozenset({"token_types"}),
            steps_in_flight=1,
            dynamic_shapes=True,
            features=kernel_features(dtypes),
        )

    def memory(self) -> Memory:
        free = host.free_memory_bytes()
        return Memory(host.total_memory_bytes(), free, largest_allocation=free, host=True)

    def supports(self, graph: Graph) -> tuple[Support, ...]:
        whole = self._refuse_graph(graph)
        native = self._native(graph)
        return tuple(self._support(graph, node, whole, native) for node in graph.nodes)

    def load(self, graph: Graph, weights: WeightSource) -> LoadedModel:
        def openvino() -> CpuModel:
            return CpuModel(self._core, graph, lower(graph, weights), self._settings)

        library = self._native(graph)
        if isinstance(library, str):
            log.info("kernels=openvino reason=%r", library)
            return openvino()
        kernels = library.kernels[0]
        log.info("kernels=%s precision=%s", kernels, self._settings.precision_with(kernels))
        return ChosenModel(NativeModel(library, graph, weights, self._settings), openvino)

    def _native(self, graph: Graph) -> Library | str:
        """The kernel library where it is to run the graph, else why it is not."""
        if self._settings.kernels == "openvino":
            return "asked for with --option kernels=openvino"
        return usable(graph)

    def close(self) -> None:
        """Nothing is held but OpenVINO itself, which lives as long as the process."""

    def _refuse_graph(self, graph: Graph) -> str | None:
        """Why no node of the graph can run, None if that depends on the node."""
        offered = self.capabilities.compute_dtypes
        if graph.dtype not in offered:
            return f"dtype {graph.dtype} does not work on this processor; use --dtype {offered[0]}"
        return None

    def _support(
        self, graph: Graph, node: Node, whole: str | None, native: Library | str
    ) -> Support:
        reason = whole or self._refuse_node(graph, node)
        if reason is not None:
            return Support(node.name, None, reason)
        if isinstance(native, Library):
            name = f"{native.kernels[0]}.{node.op}"
            return Support(node.name, name, "the whole graph is run by the kernel library")
        return Support(node.name, f"openvino.{node.op}", native)

    def _refuse_node(self, graph: Graph, node: Node) -> str | None:
        if node.op not in LOWERINGS:
            return f"the cpu platform does not know the op {node.op}"
        if node.op == "kv_write" and len(list(graph.uses(node.outputs[0]))) != 1:
            return "OpenVINO writes the cache in the attention that reads it; exactly one must"
        if node.op == "rope" and graph.values[node.inputs[1]].shape[0] not in (1, "P"):
            return "positions of more than one plane are not supported"
        for name in node.weights.values():
            form = graph.weights[name].form
            if form not in self.capabilities.weight_forms:
                known = ", ".join(str(known) for known in self.capabilities.weight_forms)
                return f"weight {name} is stored as {form}; the cpu platform multiplies {known}"
        activation = node.attributes.get("activation", "silu")
        if activation not in ACTIVATIONS:
            return f"activation {activation} is not one of {', '.join(ACTIVATIONS)}"
        return refuse_attention(graph, node) if node.op in _ATTENTIONS else None


def kernel_features(dtypes: Sequence[str]) -> tuple[Feature, ...]:
    """What computes in bf16: the kernel library, or why it does not."""
    if "bf16" not in dtypes:
        return ()
    library = find()
    if isinstance(library, str):
        return (Feature("dtype:bf16", "supported", f"OpenVINO's kernels; {library}"),)
    reason = f"kernels of our own ({library.kernels[0]}) where they run the whole graph"
    return (Feature("dtype:bf16", "supported", reason),)


def refuse_attention(graph: Graph, node: Node) -> str | None:
    """Why an attention cannot run, None if it can; tries its widths once."""
    if node.attributes.get("soft_cap") is not None:
        return "OpenVINO's paged attention has no soft cap on scores"
    widths = attention_widths(graph, node)
    if widths.heads % widths.kv_heads:
        return f"{widths.heads} query heads are no multiple of {widths.kv_heads} key/value heads"
    return trial(widths, graph.dtype, graph.dtype).reason


def compute_dtypes(core: ov.Core) -> tuple[str, ...]:
    """Dtypes in which attention gives right answers here, the one OpenVINO itself would take first."""
    able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    preferred = core.get_property("CPU", "INFERENCE_PRECISION_HINT")
    works = [
        dtype
        for dtype, word in _CAPABILITY.items()
        if word in able and trial(_USUAL, dtype, dtype).reason is None
    ]
    return tuple(sorted(works, key=lambda dtype: TYPES[dtype] != preferred))


def cache_forms(dtypes: Iterable[str]) -> tuple[CacheForm, ...]:
    """Forms with the compute dtypes that work over them, those named like a dtype first."""
    dtypes = tuple(dtypes)
    forms = []
    for name in dict.fromkeys((*dtypes, "f16", "u8")):
        able = tuple(dtype for dtype in dtypes if trial(_USUAL, dtype, name).reason is None)
        if able:
            stable = name != "u8"  # its scales are those of what a block held when it was written
            forms.append(CacheForm(name, BLOCK_SIZE, BLOCK_SIZE, stable, able))
    return tuple(forms)


def weight_forms() -> tuple[WeightForm, ...]:
    """Forms that OpenVINO multiplies without unpacking them to f32 first."""
    groups = (WeightForm("int4_group", group=group) for group in _INT4_GROUPS)
    return (BF16, F32, F16, INT8, *groups)
