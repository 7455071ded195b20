"""A graph as a list of calls, and running it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dovetail.graph import OPS, Graph, Node
from dovetail.platform import WeightSource

from .backend import Array, Backend
from .cache import PagedCache
from .kernel import Kernel, NodeWeights


@dataclass(frozen=True, slots=True)
class Call:
    """A node, ready to be called.

    rounded  output -> the type it is to have; the order of cache writes has none
    dead     values that nothing reads after it
    """

    node: Node
    function: Callable[..., Any]
    arguments: dict[str, Any]
    rounded: dict[str, str]
    layered: bool
    dead: tuple[str, ...]


def calls(
    graph: Graph, source: WeightSource, kernels: Mapping[str, Kernel], backend: Backend
) -> list[Call]:
    """The nodes in order with their packed weights and attributes, and when values may be dropped."""
    last = {name: node.name for node in graph.nodes for name in node.inputs}
    kept = {*graph.inputs, *graph.outputs.values()}
    shared: dict[tuple[str, str], Array] = {}
    made = []
    for node in graph.nodes:
        kernel, reason = kernels[node.op].fitting(node, graph)
        if kernel is None:
            raise ValueError(f"{node.name} was refused: {reason}")
        packed = kernel.pack(NodeWeights(node, graph, source, backend, shared))
        dead = (name for name in {*node.inputs, *node.outputs} - kept)
        made.append(
            Call(
                node,
                kernel.call,
                {**node.attributes, **packed},
                {name: graph.values[name].dtype for name in node.outputs},
                OPS[node.op].layered,
                tuple(name for name in dead if last.get(name, node.name) == node.name),
            )
        )
    return made


def run_graph(
    graph: Graph,
    steps: list[Call],
    inputs: dict[str, Array],
    cache: PagedCache,
    step: Any,
    backend: Backend,
) -> dict[str, Array]:
    """Values of the graph's outputs by the name of the output.

    inputs  the graph's, by name, on the device
    step    what layered kernels are told: a Step, or a platform's own
    """
    values = {name: inputs[name] for name in graph.inputs}
    for call in steps:
        node, extra = call.node, {}
        if call.layered:
            assert node.layer is not None
            extra = {"cache": cache.layer(node.layer), "step": step}
        result = call.function(*(values[name] for name in node.inputs), **call.arguments, **extra)
        made = result if isinstance(result, tuple | list) else (result,)
        for (name, dtype), value in zip(call.rounded.items(), made, strict=True):
            values[name] = value if dtype == "cache" else backend.rounded(value, dtype)
        for name in call.dead:
            del values[name]
    return {output: values[name] for output, name in graph.outputs.items()}
