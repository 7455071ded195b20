"""Lowering: what a device lacks is taken apart, until it runs everything or the gaps are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dovetail.errors import UnsupportedOp
from dovetail.graph.graph import Graph
from dovetail.graph.ops import OPS

from .decompose import decompose
from .rewrite import NodeSupport, S, Supports, understood


@dataclass(frozen=True, slots=True)
class Gap:
    """A node that nothing runs."""

    node: str
    op: str
    reason: str


def lower(graph: Graph, ops: Mapping[str, int], supports: Supports[S]) -> tuple[Graph, Sequence[S]]:
    """The graph with every node that the device does not run decomposed, and the device's answers about it.

    ops  op -> revision that the device understands

    Raises UnsupportedOp listing every node that is left with nothing to run it.
    """
    while True:
        answers = supports(graph)
        gaps = find_gaps(graph, ops, answers)
        if not gaps:
            return graph, answers
        apart = {gap.node for gap in gaps if gap.op in OPS and OPS[gap.op].decomposition}
        if not apart:
            raise UnsupportedOp(message(graph, gaps))
        graph = decompose(graph, apart)


def answered(graph: Graph, ops: Mapping[str, int], supports: Supports[S]) -> Sequence[S]:
    """The device's answers about a graph as it is. Raises UnsupportedOp listing every node that nothing runs."""
    answers = supports(graph)
    gaps = find_gaps(graph, ops, answers)
    if gaps:
        raise UnsupportedOp(message(graph, gaps))
    return answers


def find_gaps(graph: Graph, ops: Mapping[str, int], answers: Sequence[NodeSupport]) -> list[Gap]:
    """The nodes without a kernel, or of an op or revision that the device does not understand."""
    answer = {support.node: support for support in answers}
    gaps = []
    for node in graph.nodes:
        support = answer.get(node.name)
        if not understood(ops, node.op):
            wanted = OPS[node.op].revision if node.op in OPS else "?"
            known = ops.get(node.op)
            reason = f"needs revision {wanted}, the device understands {known or 'none'}"
            gaps.append(Gap(node.name, node.op, reason))
        elif support is None or support.kernel is None:
            gaps.append(Gap(node.name, node.op, support.reason if support else "no answer"))
    return gaps


def message(graph: Graph, gaps: Sequence[Gap]) -> str:
    """All gaps, those with one op and reason on one line."""
    groups: dict[tuple[str, str], list[str]] = {}
    for gap in gaps:
        groups.setdefault((gap.op, gap.reason), []).append(gap.node)
    lines = [
        f"  {op}: {reason or 'no kernel'} ({nodes[0]}{f' and {len(nodes) - 1} more' if nodes[1:] else ''})"
        for (op, reason), nodes in groups.items()
    ]
    return (
        f"the device cannot run {len(gaps)} of {len(graph.nodes)} nodes of {graph.name}; use another "
        "platform, dtype or model:\n" + "\n".join(lines)
    )
