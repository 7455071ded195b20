"""Dividing a graph over the members of a mesh: tensor parallelism as annotations and collectives.

A product whose outputs can stay divided until the next product is column-parallel, that next product is row-parallel and
a sum over the members follows it. Heads of attention, their rotation, norms and cache, and whatever works on one number at a
time live between the two. The table of the tokens and the product that makes logits are divided by vocabulary where that
divides; everything else is whole on every member.

Source: Shoeybi et al. 2019, section 3.
"""

from __future__ import annotations

from dataclasses import replace

from dovetail.errors import ConfigError
from dovetail.graph.graph import Graph, Node, Value
from dovetail.graph.ops import OPS
from dovetail.graph.sharding import Sharding

from .decompose import expand
from .divide import Division, divide
from .rewrite import with_nodes


def shard(graph: Graph, members: int) -> Graph:
    """The graph annotated for a mesh, with a collective behind each product that leaves sums or pieces.

    The annotated graph computes what the graph does; its collectives are the identity there (see mesh_ops.py). With one
    member it is the graph itself.

    Raises ConfigError, naming the node, where heads or inner widths do not divide.
    """
    if members < 1:
        raise ConfigError(f"--tensor-parallel-size is {members}; it must be at least 1")
    if members == 1:
        return graph
    plain, parts = apart(graph)
    found = divide(plain, members)
    nodes: list[Node] = []
    for node in graph.nodes:
        nodes += parts[node.name] if torn(parts[node.name], found) else [node]
    return annotated(with_nodes(graph, nodes, plain.values.values()), found)


def apart(graph: Graph) -> tuple[Graph, dict[str, list[Node]]]:
    """The graph with every fused node decomposed to the end, and the nodes that each node became."""
    values: dict[str, Value] = dict(graph.values)

    def simple(node: Node) -> list[Node]:
        if not OPS[node.op].decomposition:
            return [node]
        return [inner for part in expand(graph, node, values) for inner in simple(part)]

    parts = {node.name: simple(node) for node in graph.nodes}
    nodes = [part for some in parts.values() for part in some]
    return with_nodes(graph, nodes, values.values()), parts


def torn(parts: list[Node], found: Division) -> bool:
    """Whether a collective falls between the parts of a fused node, which has to stay apart then."""
    used = {name for part in parts for name in part.inputs}
    return any(name in found.moved and name in used for part in parts for name in part.outputs)


def annotated(graph: Graph, found: Division) -> Graph:
    """The graph with its collectives, and the division as annotations."""
    nodes: list[Node] = []
    values: dict[str, Value] = dict(graph.values)
    splits = dict(found.values)
    for node in graph.nodes:
        moved = [name for name in node.outputs if name in found.moved]
        inner = {name: f"{name}.part" for name in moved}
        outputs = tuple(inner.get(name, name) for name in node.outputs)
        nodes.append(replace(node, outputs=outputs) if moved else node)
        for name, part in inner.items():
            values[part] = replace(values[name], name=part)
            if name in splits:
                splits[part] = splits.pop(name)
            op = found.moved[name]
            attributes = OPS[op].normal_attributes({})
            nodes.append(Node(f"{name}.{op}", op, (part,), (name,), attributes))
    made = with_nodes(graph, nodes, values.values())
    return replace(
        made,
        sharding=Sharding(
            found.members,
            {name: split for name, split in found.weights.items() if name in made.weights},
            frozenset(found.once),
            {name: split for name, split in splits.items() if name in made.values},
            found.heads,
        ),
    )
