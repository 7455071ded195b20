"""The open device: what it can do, and what it would do with a graph."""

from __future__ import annotations

import logging

import jax
from dovetail.errors import OutOfMemory
from dovetail.graph import BF16, F32, INT8, OPS, Graph, Node, WeightForm
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
from dovetail_sdk.mesh import LocalSource

from .compiled import Programs, fingerprint
from .executable import Executable
from .lower import Lowered
from .model import TpuModel, TransferModel
from .ops import OPS as FUNCTIONS
from .resident import Resident
from .sampling import TOP_LOGPROBS
from .target import Target
from .weights import read_params

log = logging.getLogger("dovetail.tpu")

BLOCK_MAXIMUM = 128
ITEM_BYTES = {"f32": 4, "bf16": 2, "fp8": 1}
_programs: Programs[Executable] = Programs()


class TpuDevice(Device):
    """A chip, or an emulated one."""

    def __init__(self, target: Target) -> None:
        self._target = target
        chip = target.settings.chip
        self.capabilities = Capabilities(
            ops={name: OPS[name].revision for name in FUNCTIONS},
            compute_dtypes=("bf16", "f32"),
            weight_forms=(
                BF16,
                F32,
                INT8,
                *(WeightForm("int4_group", group=g) for g in (128, 64, 32)),
            ),
            cache_forms=tuple(
                CacheForm(name, chip.rows_of_tile(size), BLOCK_MAXIMUM)
                for name, size in (("bf16", 2), ("f32", 4), ("fp8", 1))
            ),
            fused_ops=("attention_write",),
            rewrites=frozenset({"merge_gate_up"}),
            columns=frozenset({"token_types"}),
            steps_in_flight=2,
            top_logprobs=TOP_LOGPROBS,
            features=() if target.emulated else _unseen(),
        )

    def memory(self) -> Memory:
        return self._target.memory()

    def supports(self, graph: Graph) -> tuple[Support, ...]:
        return tuple(self._support(graph, node) for node in graph.nodes)

    def _support(self, graph: Graph, node: Node) -> Support:
        reason = self._refusal(graph, node)
        if reason is not None:
            return Support(node.name, None, reason)
        return Support(node.name, f"xla.{node.op}", "the whole graph is one program")

    def _refusal(self, graph: Graph, node: Node) -> str | None:
        """Why a node cannot run, None if it can."""
        offered = self.capabilities.compute_dtypes
        if graph.dtype not in offered:
            return f"computes in {', '.join(offered)}, not in {graph.dtype}"
        if node.op not in FUNCTIONS:
            return f"the tpu platform does not know the op {node.op}"
        if node.op == "rope" and graph.values[node.inputs[1]].shape[0] not in (1, "P"):
            return "positions of more than one plane are not supported"
        for name in node.weights.values():
            form = graph.weights[name].form
            if form not in self.capabilities.weight_forms:
                known = ", ".join(map(str, self.capabilities.weight_forms))
                return f"weight {name} is stored as {form}; the tpu platform multiplies {known}"
        return None

    def load(self, graph: Graph, weights: WeightSource) -> LoadedModel:
        target = self._target
        lowered = Lowered.of(graph if graph.sharding is None else graph.local(0))
        sources: list[WeightSource] = [weights]
        if graph.sharding is not None:
            sources = [LocalSource(graph, rank, weights) for rank in target.own_members]
        if lowered.run is not None:
            log.info("layers=%d nodes=%d", lowered.run.repeats, lowered.run.period)
        try:
            params = read_params(lowered, sources, target.put_parts)
            jax.block_until_ready(params)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" in str(error):
                raise OutOfMemory(f"no room for the weights on {target}: {error}") from error
            raise
        key = f"{fingerprint(lowered.graph)} {target} {target.settings}"
        resident = Resident(target, lowered, params, _programs, key, vocabulary(graph))
        return TransferModel(resident) if target.members == 1 else TpuModel(resident)

    def close(self) -> None:
        """Nothing is held but jax itself, which lives as long as the process."""


def vocabulary(graph: Graph) -> int | None:
    """Token ids that there are; None where tokens are not looked up."""
    tables = [
        graph.weights[node.weights["table"]].shape[0]
        for node in graph.nodes
        if node.op == "embed" and node.inputs[0] == "tokens"
    ]
    return min(tables, default=None)


def _unseen() -> tuple[Feature, ...]:
    """On a chip nobody has seen anything work yet: it was compiled for chips, and run emulated."""
    why = "compiled for this chip and run emulated; not yet run on the chip"
    return tuple(
        Feature(name, "unverified", why)
        for name in (
            "dtype:bf16",
            "dtype:f32",
            "cache:bf16",
            "cache:f32",
            "cache:fp8",
            "block_transfer",
        )
    )
