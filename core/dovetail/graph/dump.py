"""A graph as stable text: what `dovetail explain` prints and what tests compare."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2s

from .graph import Attribute, Graph, Node, Value

MOST_WRITTEN = 8
"""Tuples longer than this are written as their length and a digest."""


def dump(graph: Graph, *, names: bool = True) -> str:
    """Every part of a graph, one line each; equal graphs have equal text.

    names  False numbers nodes and values in the order they are made, to compare graphs that differ in names only
    """
    label = {name: name for name in graph.values} if names else numbered(graph)
    lines = [f"graph {graph.name} {graph.dtype}{'' if graph.chunkable else ' whole'}"]
    lines += [f"input {label[name]} {value_type(graph.values[name])}" for name in graph.inputs]
    for group in graph.cache:
        lines.append(
            f"cache {group.name} layers={spans(group.layers)} kv_heads={group.kv_heads} "
            f"key_width={group.key_width} value_width={group.value_width} window={group.window}"
        )
    for name, weight in sorted(graph.weights.items()):
        parts = "" if weight.parts == (name,) else f" = {' ++ '.join(weight.parts)}"
        lines.append(f"weight {name} {weight.form} [{', '.join(map(str, weight.shape))}]{parts}")
    lines += [node_line(graph, node, label, names) for node in graph.nodes]
    lines += [f"output {name} = {label[value]}" for name, value in sorted(graph.outputs.items())]
    return "\n".join([*lines, *sharding_lines(graph, label)]) + "\n"


def sharding_lines(graph: Graph, label: Mapping[str, str]) -> list[str]:
    """How a divided graph is divided: `axis 0: 64/2 + 16/2` is two sections of 64 and 16, each in two parts."""
    sharding = graph.sharding
    if sharding is None:
        return []
    lines = [f"mesh {sharding.members}"]
    lines += [f"split weight {name} {split}" for name, split in sorted(sharding.weights.items())]
    lines += [f"split value {label[name]} {split}" for name, split in sharding.values.items()]
    lines += [f"split cache {name} {split}" for name, split in sorted(sharding.heads.items())]
    return [*lines, *(f"once {name}" for name in sorted(sharding.once))]


def node_line(graph: Graph, node: Node, label: Mapping[str, str], names: bool) -> str:
    """`node: value type, ... = op(inputs) {weights} attributes @layer`."""
    made = ", ".join(f"{label[name]} {value_type(graph.values[name])}" for name in node.outputs)
    line = f"{made} = {node.op}({', '.join(label[name] for name in node.inputs)})"
    if names and node.outputs != (node.name,):
        line = f"{node.name}: {line}"
    line += "".join(f" {role}={name}" for role, name in sorted(node.weights.items()))
    line += "".join(
        f" {name}={attribute(value)}" for name, value in sorted(node.attributes.items())
    )
    return line if node.layer is None else f"{line} @{node.layer}"


def numbered(graph: Graph) -> dict[str, str]:
    """Value name -> %number."""
    order = [*graph.inputs, *(name for node in graph.nodes for name in node.outputs)]
    return {name: f"%{index}" for index, name in enumerate(order)}


def value_type(value: Value) -> str:
    return f"{value.dtype} [{', '.join(map(str, value.shape))}]"


def attribute(value: Attribute) -> str:
    """An attribute's value; a long tuple as its length and a digest of all its digits."""
    if isinstance(value, tuple):
        if len(value) <= MOST_WRITTEN:
            return f"({', '.join(map(repr, value))})"
        digest = blake2s(repr(value).encode(), digest_size=6).hexdigest()
        return f"<{len(value)} values {digest}>"
    return repr(value)


def spans(numbers: tuple[int, ...]) -> str:
    """`0-3,5` for (0, 1, 2, 3, 5)."""
    pieces: list[list[int]] = []
    for number in numbers:
        if pieces and number == pieces[-1][-1] + 1:
            pieces[-1] = [pieces[-1][0], number]
        else:
            pieces.append([number])
    return ",".join("-".join(map(str, piece)) for piece in pieces)
