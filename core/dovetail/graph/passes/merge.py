"""q, k and v in one linear, gate and up in one linear: fewer and larger matrix products.

A merged weight is the rows of its parts one after the other, and a split gives the parts' outputs back under their old
names, so nothing after them changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dovetail.graph.graph import Graph, Node, Value, Weight
from dovetail.graph.ops import OPS

from .rewrite import Users, with_nodes

ROLES = {
    ("attention", 0): "q",
    ("sink_attention", 0): "q",
    ("kv_write", 0): "k",
    ("kv_write", 1): "v",
    ("attention_write", 0): "q",
    ("attention_write", 1): "k",
    ("attention_write", 2): "v",
    ("gated_activation", 0): "gate",
    ("gated_activation", 1): "up",
}
"""Where a linear's output ends up -> what it is."""

CARRIERS = ("reshape", "rope", "rms_norm", "layer_norm", "scale")
"""Ops on the way there that change neither the role nor the token."""


@dataclass(frozen=True, slots=True)
class Group:
    """Linears on one input that become one, in the order of their rows."""

    name: str
    nodes: tuple[Node, ...]


def merge_linears(graph: Graph, *, qkv: bool, gate_up: bool) -> Graph:
    """The graph with those linears merged.

    A group stays as it is where weight forms differ, some have a bias and some not, or a weight is used elsewhere too.
    """
    users = Users(graph)
    wanted: list[tuple[str, tuple[str, ...]]] = [("qkv_proj", ("q", "k", "v"))] if qkv else []
    wanted += [("gate_up_proj", ("gate", "up"))] if gate_up else []
    groups = [group for name, roles in wanted for group in find(users, name, roles)]
    uses = Counter(name for node in graph.nodes for name in node.weights.values())
    groups = [group for group in groups if mergeable(graph, group, uses)]
    nodes: list[Node] = []
    values: list[Value] = []
    weights: list[Weight] = []
    first = {min(group.nodes, key=lambda node: users.at[node.name]).name: group for group in groups}
    gone = {node.name for group in groups for node in group.nodes}
    for node in graph.nodes:
        if node.name in first:
            merged = Merged(graph, first[node.name])
            nodes += merged.nodes
            values.append(merged.value)
            weights += merged.weights.values()
        elif node.name not in gone:
            nodes.append(node)
    return with_nodes(graph, nodes, values, weights)


def find(users: Users, name: str, roles: tuple[str, ...]) -> Iterator[Group]:
    """Linears on one input, one for each role."""
    for siblings in users.of.values():
        linears = [node for node in siblings if node.op == "linear"]
        if len(linears) < len(roles):
            continue
        by_role = {role_of(users, node.outputs[0]): node for node in linears}
        if len(by_role) == len(linears) and all(role in by_role for role in roles):
            yield Group(name, tuple(by_role[role] for role in roles))


def role_of(users: Users, value: str) -> str | None:
    """What a linear's output is, None where it goes to several places or to none with a role."""
    while True:
        following = users.of.get(value, [])
        if len(following) != 1 or value in users.graph.outputs.values():
            return None
        node = following[0]
        if node.op not in CARRIERS:
            return ROLES.get((node.op, node.inputs.index(value)))
        value = node.outputs[0]


def mergeable(graph: Graph, group: Group, uses: Mapping[str, int]) -> bool:
    """Whether the weights of a group can be one; `uses` counts the nodes that use each weight."""
    for role in ("weight", "bias"):
        names = [node.weights[role] for node in group.nodes if role in node.weights]
        if not names and role == "bias":
            continue
        weights = [graph.weights[name] for name in names]
        alike = len({(weight.form, weight.shape[1:]) for weight in weights}) == 1
        if len(names) != len(group.nodes) or not alike or any(uses[name] > 1 for name in names):
            return False
    return True


class Merged:
    """The two nodes, the value between them and the weights that a group becomes."""

    def __init__(self, graph: Graph, group: Group) -> None:
        first = group.nodes[0]
        self.weights = {
            role: merged_weight(
                [graph.weights[node.weights[role]] for node in group.nodes], group.name
            )
            for role in first.weights
        }
        sizes = tuple(graph.weights[node.weights["weight"]].shape[0] for node in group.nodes)
        name = sibling_name(first.name, group.name)
        x = graph.values[first.inputs[0]]
        self.value = Value(name, (*x.shape[:-1], sum(sizes)), graph.dtype)
        roles = {role: weight.name for role, weight in self.weights.items()}
        self.nodes = [
            Node(name, "linear", first.inputs, (name,), {}, roles),
            Node(
                f"{name}.split",
                "split",
                (name,),
                tuple(node.outputs[0] for node in group.nodes),
                OPS["split"].normal_attributes({"sizes": sizes}),
            ),
        ]


def merged_weight(weights: Sequence[Weight], name: str) -> Weight:
    """Rows of all of them, in order: `model.layers.0.self_attn.qkv_proj.weight`."""
    first = weights[0]
    *prefix, suffix = first.name.split(".")
    merged = ".".join([*prefix[:-1], name, suffix])
    shape = (sum(weight.shape[0] for weight in weights), *first.shape[1:])
    return Weight(
        merged, shape, first.form, tuple(part for weight in weights for part in weight.parts)
    )


def sibling_name(name: str, last: str) -> str:
    """The name with its last component replaced."""
    return ".".join([*name.split(".")[:-1], last])
