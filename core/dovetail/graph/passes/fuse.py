"""Fusion: a fused op's decomposition is the pattern that it replaces.

Inner values of a match may be used elsewhere only where the fused op shows them as outputs (the sum of add_rms_norm).
The fused node takes the place and the name of the last node it replaces, so nothing may use what it makes before that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dovetail.graph.graph import Attribute, Graph, Node
from dovetail.graph.ops import OPS
from dovetail.graph.spec import GraphError, OpSpec, Step

from .decompose import expand
from .rewrite import S, Supports, Users, with_nodes


def fuse(graph: Graph, wanted: Sequence[str], supports: Supports[S]) -> Graph:
    """The graph with matches of the wanted ops replaced, in order of preference, where the device runs the fused node.

    Names of ops that are not defined here are passed over: they belong to another version.
    """
    for name in wanted:
        spec = OPS.get(name)
        if spec is not None and spec.decomposition:
            graph = fuse_op(graph, spec, supports)
    return graph


def fuse_op(graph: Graph, spec: OpSpec, supports: Supports[S]) -> Graph:
    """Replace every match of one op that the device supports."""
    matches = list(find(graph, spec))
    if not matches:
        return graph
    fused = replace_matches(graph, matches)
    refused = {support.node for support in supports(fused) if support.kernel is None}
    kept = [match for match in matches if match.node.name not in refused]
    return fused if len(kept) == len(matches) else replace_matches(graph, kept)


@dataclass(frozen=True, slots=True)
class Match:
    """A fused node and the names of the nodes that it replaces, in the order of the op's steps."""

    node: Node
    replaces: tuple[str, ...]


@dataclass(slots=True)
class Binding:
    """What the names in a pattern stand for, as far as it is matched."""

    values: dict[str, str] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, Attribute] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)

    def extended(self, step: Step, node: Node) -> Binding | None:
        """With one more step standing for a node, or None where they disagree."""
        if len(step.inputs) != len(node.inputs) or len(step.outputs) != len(node.outputs):
            return None
        named = {
            name: source for name, source in step.attributes.items() if isinstance(source, str)
        }
        bound = Binding(
            dict(self.values), dict(self.weights), dict(self.attributes), [*self.nodes, node]
        )
        pairs: Sequence[tuple[dict[str, str], str, str]] = [
            *(
                (bound.values, name, value)
                for name, value in zip(step.inputs, node.inputs, strict=True)
            ),
            *(
                (bound.values, name, value)
                for name, value in zip(step.outputs, node.outputs, strict=True)
            ),
            *(
                (bound.weights, step.weights.get(role, ""), name)
                for role, name in node.weights.items()
            ),
        ]
        if any(table.setdefault(key, value) != value or not key for table, key, value in pairs):
            return None
        for name, source in named.items():
            value = node.attributes[name]
            if bound.attributes.setdefault(source, value) != value:
                return None
        return bound


def find(graph: Graph, spec: OpSpec) -> Iterator[Match]:
    """Matches that share no node, first come first served."""
    users = Users(graph)
    taken: set[str] = set()
    for node in graph.nodes:
        if node.op != spec.decomposition[0].op or node.name in taken:
            continue
        for binding in bindings(users, spec, Binding(), node):
            names = tuple(other.name for other in binding.nodes)
            match = fused_match(users, spec, binding)
            if match is not None and not taken.intersection(names):
                taken.update(names)
                yield match
                break


def bindings(users: Users, spec: OpSpec, binding: Binding, node: Node) -> Iterator[Binding]:
    """All ways to match the steps that are left, the next of them by `node`."""
    position = len(binding.nodes)
    extended = binding.extended(spec.decomposition[position], node)
    if extended is None:
        return
    if position + 1 == len(spec.decomposition):
        yield extended
        return
    step = spec.decomposition[position + 1]
    known = next((extended.values[name] for name in step.inputs if name in extended.values), None)
    for candidate in users.of.get(known or "", ()):
        if candidate.op == step.op and candidate not in extended.nodes:
            yield from bindings(users, spec, extended, candidate)


def fused_match(users: Users, spec: OpSpec, binding: Binding) -> Match | None:
    """The fused node of a binding, or None where replacing would change the graph's meaning."""
    layers = {node.layer for node in binding.nodes if node.layer is not None}
    if len(layers) > 1 or not usable(users, spec, binding):
        return None
    node = Node(
        binding.nodes[-1].name,
        spec.name,
        tuple(binding.values[operand.name] for operand in spec.inputs),
        tuple(binding.values[operand.name] for operand in spec.outputs),
        spec.normal_attributes(binding.attributes),
        binding.weights,
        next(iter(layers), None),
    )
    return (
        Match(node, tuple(other.name for other in binding.nodes))
        if same(users.graph, node, binding)
        else None
    )


def usable(users: Users, spec: OpSpec, binding: Binding) -> bool:
    """Whether hidden values stay inside, and shown ones are not used before the last node."""
    inside = {node.name for node in binding.nodes}
    last = max(users.at[name] for name in inside)
    shown = {binding.values[operand.name] for operand in spec.outputs}
    leaving = set(users.graph.outputs.values())
    for value in {name for node in binding.nodes for name in node.outputs}:
        outside = [node for node in users.of.get(value, ()) if node.name not in inside]
        if value not in shown and (outside or value in leaving):
            return False
        if any(users.at[node.name] < last for node in outside):
            return False
    return True


def same(graph: Graph, node: Node, binding: Binding) -> bool:
    """Whether taking the fused node apart gives the matched nodes again, lengths in attributes included."""
    try:
        parts = expand(graph, node, dict(graph.values))
    except GraphError:
        return False
    return all(
        dict(part.attributes) == dict(found.attributes)
        and part.layer == found.layer
        and set(part.weights.items()) == set(found.weights.items())
        for part, found in zip(parts, binding.nodes, strict=True)
    )


def replace_matches(graph: Graph, matches: Sequence[Match]) -> Graph:
    """Put each fused node in the place of the last node that it replaces."""
    order = {node.name: index for index, node in enumerate(graph.nodes)}
    gone = {name for match in matches for name in match.replaces}
    fused: Mapping[str, Node] = {
        max(match.replaces, key=order.__getitem__): match.node for match in matches
    }
    nodes = [
        fused.get(node.name, node)
        for node in graph.nodes
        if node.name not in gone or node.name in fused
    ]
    return with_nodes(graph, nodes)
