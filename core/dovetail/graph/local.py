"""A divided graph as one member of the mesh computes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .graph import Attribute, CacheGroup, Graph, Node, Value, Weight
from .ops import OPS
from .sharding import Sharding
from .spec import GraphError, infer


def local_graph(graph: Graph, rank: int) -> Graph:
    """The view of member `rank`, from 0; see Graph.local."""
    sharding = graph.sharding
    if sharding is None or not 0 <= rank < sharding.members:
        members = None if sharding is None else sharding.members
        raise GraphError(f"graph {graph.name} has no member {rank}; it is divided over {members}")
    weights = {name: local_weight(weight, sharding) for name, weight in graph.weights.items()}
    cache = tuple(local_group(group, sharding) for group in graph.cache)
    values = {name: graph.values[name] for name in graph.inputs}
    nodes = []
    for node in graph.nodes:
        made = local_node(node, sharding, rank, cache, weights)
        inference = infer(
            OPS[made.op],
            graph.dtype,
            [values[name] for name in made.inputs],
            {role: weights[name] for role, name in made.weights.items()},
            made.attributes,
        )
        for name, (shape, dtype) in zip(made.outputs, inference.outputs, strict=True):
            values[name] = Value(name, shape, dtype)
        nodes.append(made)
    used = {name for node in nodes for name in node.weights.values()}
    return replace(
        graph,
        nodes=tuple(nodes),
        values=values,
        weights={name: weight for name, weight in weights.items() if name in used},
        cache=cache,
        sharding=None,
    )


def local_weight(weight: Weight, sharding: Sharding) -> Weight:
    """The part that a member holds."""
    split = sharding.weights.get(weight.name)
    if split is None:
        return weight
    shape = list(weight.shape)
    shape[split.axis] = split.local
    return replace(weight, shape=tuple(shape))


def local_group(group: CacheGroup, sharding: Sharding) -> CacheGroup:
    """With the heads that a member caches."""
    split = sharding.heads.get(group.name)
    return group if split is None else replace(group, kv_heads=split.local)


def local_node(
    node: Node,
    sharding: Sharding,
    rank: int,
    cache: tuple[CacheGroup, ...],
    weights: Mapping[str, Weight],
) -> Node:
    """A node with the attributes and weights that it has on a member."""
    attributes: dict[str, Attribute] = dict(node.attributes)
    roles = dict(node.weights)
    table = sharding.weights.get(roles.get("table", ""))
    if node.op == "embed" and table is not None:
        first = table.slices(rank, sharding.members)[0].start
        return replace(node, op="embed_part", attributes={"first": first})
    if node.op == "all_gather":
        attributes["parts"] = sharding.members
    if node.op == "reshape" and node.outputs[0] in sharding.values:
        shape = attributes["shape"]
        assert isinstance(shape, tuple)
        attributes["shape"] = (sharding.values[node.outputs[0]].local, *map(int, shape[1:]))
    if node.op == "split" and node.inputs[0] in sharding.values:
        attributes["sizes"] = tuple(sharding.values[name].local for name in node.outputs)
    if "kv_heads" in attributes and node.layer is not None:
        (group,) = (group for group in cache if node.layer in group.layers)
        attributes["kv_heads"] = group.kv_heads
    if rank:
        roles = {role: name for role, name in roles.items() if name not in sharding.once}
    return replace(node, attributes=attributes, weights=roles)
