"""All passes for a device, in order: merge, fuse, lower."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic

from dovetail.graph.graph import Graph
from dovetail.graph.verify import verify

from .fuse import fuse
from .lower import answered, lower
from .merge import merge_linears
from .rewrite import S, Supports, understood
from .shard import shard


@dataclass(frozen=True, slots=True)
class PreparedGraph(Generic[S]):
    """A graph that the device runs whole, and its answer about every node, in order."""

    graph: Graph
    supports: Sequence[S]


def prepare(
    graph: Graph,
    *,
    ops: Mapping[str, int],
    supports: Supports[S],
    fused: Sequence[str] = (),
    rewrites: Collection[str] = (),
    members: int = 1,
    check: bool = False,
) -> PreparedGraph[S]:
    """Rewrite a graph for a device.

    ops, fused, rewrites  as in dovetail.platform.Capabilities
    supports              the device's method
    members               devices of the mesh that the graph is divided over, last of all; see passes/shard.py
    check                 verify after each pass, for tests; the passes keep graphs well-formed

    Raises UnsupportedOp listing everything that the device cannot run, ConfigError for what cannot be divided.
    """
    graph = merge_linears(graph, qkv="merge_qkv" in rewrites, gate_up="merge_gate_up" in rewrites)
    if check:
        verify(graph)
    graph = fuse(graph, [op for op in fused if understood(ops, op)], supports)
    if check:
        verify(graph)
    graph, answers = lower(graph, ops, supports)
    if check:
        verify(graph)
    if members > 1:
        graph = shard(graph, members)
        answers = answered(graph, ops, supports)
    if check:
        verify(graph)
    return PreparedGraph(graph, answers)
