"""What would run a model here, node by node, and why; nothing is loaded."""

from __future__ import annotations

from dataclasses import dataclass

from dovetail.config import EngineConfig
from dovetail.graph import dump
from dovetail.weights.checkpoint import Checkpoint

from .load import prepare


@dataclass(frozen=True, slots=True)
class ExplainedNode:
    """One node of the graph that the device gets."""

    node: str
    op: str
    kernel: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The choices made for a model, and the graph that came of them.

    platform  platform and device, as --platform takes them
    reason    why this platform
    graph     text form of the graph after fusion and lowering
    """

    model: str
    platform: str
    device: str
    reason: str
    dtype: str
    weights: str
    cache_form: str
    block_size: int
    max_model_len: int
    graph: str
    nodes: tuple[ExplainedNode, ...]


def explain(config: EngineConfig, checkpoint: Checkpoint) -> Explanation:
    """Choose as `serve` would and say so. Raises what loading would raise, short of reading weights."""
    prepared = prepare(config, checkpoint)
    prepared.device.close()
    nodes = tuple(
        ExplainedNode(node.name, node.op, support.kernel or "none", support.reason)
        for node, support in zip(prepared.graph.nodes, prepared.supports, strict=True)
    )
    return Explanation(
        model=checkpoint.name,
        platform=str(prepared.selection),
        device=", ".join(device.description for device in prepared.selection.devices),
        reason=prepared.selection.reason,
        dtype=prepared.graph.dtype,
        weights=prepared.weights,
        cache_form=prepared.form.name,
        block_size=prepared.limits.block_size,
        max_model_len=prepared.limits.max_model_len,
        graph=dump(prepared.graph),
        nodes=nodes,
    )
