"""What the passes share: a graph with other nodes, and what a device answers about nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from dovetail.graph.graph import Graph, Node, Value, Weight
from dovetail.graph.ops import OPS


class NodeSupport(Protocol):
    """A device's answer about one node; dovetail.platform.Support is one."""

    @property
    def node(self) -> str: ...
    @property
    def kernel(self) -> str | None: ...
    @property
    def reason(self) -> str: ...


S = TypeVar("S", bound=NodeSupport)

Supports = Callable[[Graph], Sequence[S]]
"""Device.supports: an answer for every node of a graph, in order."""


def understood(ops: Mapping[str, int], op: str) -> bool:
    """Whether a device that understands those revisions understands an op as it is defined here."""
    spec = OPS.get(op)
    return spec is not None and ops.get(op, 0) >= spec.revision


def with_nodes(
    graph: Graph,
    nodes: Sequence[Node],
    values: Iterable[Value] = (),
    weights: Iterable[Weight] = (),
) -> Graph:
    """The graph with other nodes; values and weights that no node makes or uses any more are left out.

    values, weights  new ones, beside the graph's
    """
    known = {**graph.values, **{value.name: value for value in values}}
    stored = {**graph.weights, **{weight.name: weight for weight in weights}}
    made = [*graph.inputs, *(name for node in nodes for name in node.outputs)]
    used = dict.fromkeys(name for node in nodes for name in node.weights.values())
    return replace(
        graph,
        nodes=tuple(nodes),
        values={name: known[name] for name in made},
        weights={name: stored[name] for name in used},
    )


class Users:
    """Who uses each value of a graph, and where nodes stand."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.at = {node.name: index for index, node in enumerate(graph.nodes)}
        self.of: dict[str, list[Node]] = {}
        for node in graph.nodes:
            for value in dict.fromkeys(node.inputs):
                self.of.setdefault(value, []).append(node)
