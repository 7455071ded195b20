"""Replacing a node by the steps of its op's decomposition."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from dovetail.graph.graph import Attribute, Graph, Node, Value
from dovetail.graph.ops import OPS
from dovetail.graph.spec import Axes, Length, Lengths, OpSpec, Step, infer

from .rewrite import with_nodes


def decompose(graph: Graph, names: Collection[str]) -> Graph:
    """The graph with the nodes of those names taken apart; their ops must have a decomposition."""
    nodes: list[Node] = []
    values: dict[str, Value] = dict(graph.values)
    for node in graph.nodes:
        nodes += expand(graph, node, values) if node.name in names else [node]
    return with_nodes(graph, nodes, values.values())


def expand(graph: Graph, node: Node, values: dict[str, Value]) -> list[Node]:
    """The nodes that a node's decomposition stands for; their inner values are added to `values`.

    The last step keeps the node's name, the others get their op's behind it.
    """
    spec = OPS[node.op]
    inputs = [values[name] for name in node.inputs]
    weights = {role: graph.weights[name] for role, name in node.weights.items()}
    axes = infer(spec, graph.dtype, inputs, weights, node.attributes).axes
    local = bound_names(spec, node)
    nodes = []
    for step in spec.decomposition:
        last = step is spec.decomposition[-1]
        name = node.name if last else unused(f"{node.name}.{step.op}", values)
        made = expanded_step(graph, node, step, name, local, axes)
        outputs = infer(
            OPS[step.op],
            graph.dtype,
            [values[value] for value in made.inputs],
            {role: graph.weights[weight] for role, weight in made.weights.items()},
            made.attributes,
        ).outputs
        for value, (shape, dtype) in zip(made.outputs, outputs, strict=True):
            values.setdefault(value, Value(value, shape, dtype))
        nodes.append(made)
    return nodes


def bound_names(spec: OpSpec, node: Node) -> dict[str, str]:
    """Operand of the op -> value of the graph."""
    operands = [operand.name for operand in (*spec.inputs, *spec.outputs)]
    return dict(zip(operands, (*node.inputs, *node.outputs), strict=True))


def expanded_step(
    graph: Graph, node: Node, step: Step, name: str, local: dict[str, str], axes: Axes
) -> Node:
    """One step as a node; values that it makes and the op does not show get names of their own in `local`."""
    for output in step.outputs:
        local.setdefault(output, name if len(step.outputs) == 1 else f"{name}.{output}")
    spec = OPS[step.op]
    return Node(
        name,
        step.op,
        tuple(local[value] for value in step.inputs),
        tuple(local[value] for value in step.outputs),
        spec.normal_attributes(step_attributes(step, node.attributes, axes)),
        {role: node.weights[of] for role, of in step.weights.items() if of in node.weights},
        node.layer if spec.layered else None,
    )


def step_attributes(
    step: Step, attributes: Mapping[str, Attribute], axes: Axes
) -> dict[str, Attribute]:
    """Values of a step's attributes, given those of the whole op."""

    def value(source: str | Length | Lengths) -> Attribute:
        if isinstance(source, Length):
            return axes.number(source.letter)
        if isinstance(source, Lengths):
            return tuple(axes.number(letter) for letter in source.letters)
        return attributes[source]

    return {name: value(source) for name, source in step.attributes.items()}


def unused(name: str, values: Mapping[str, Value]) -> str:
    """A name that no value has."""
    count, candidate = 1, name
    while candidate in values:
        count += 1
        candidate = f"{name}_{count}"
    return candidate
