"""Which nodes of a graph become one step, decided before any step is made."""

from __future__ import annotations

from dataclasses import dataclass, field

from dovetail.graph import Graph, Node

_MOST_TOGETHER = 4


@dataclass(slots=True)
class Fusion:
    """What goes together.

    norms     value -> the rms_norm that makes it, where only products read it: normed as it is quantised
    sums      add -> the product that is added in place, and the other summand
    gates     gated_activation -> the products that make gate and up
    together  product -> itself and those that read the same, computed in one step
    in_place  ropes that may overwrite what they read
    absorbed  nodes that another one stands for
    """

    norms: dict[str, Node] = field(default_factory=dict)
    sums: dict[str, tuple[Node, str]] = field(default_factory=dict)
    gates: dict[str, tuple[Node, Node]] = field(default_factory=dict)
    together: dict[str, tuple[Node, ...]] = field(default_factory=dict)
    in_place: set[str] = field(default_factory=set)
    absorbed: set[str] = field(default_factory=set)


class _Readers:
    """Who makes and who reads each value."""

    def __init__(self, graph: Graph) -> None:
        self.maker = {name: node for node in graph.nodes for name in node.outputs}
        self.of: dict[str, list[Node]] = {name: [] for name in graph.values}
        for node in graph.nodes:
            for name in dict.fromkeys(node.inputs):
                self.of[name].append(node)
        self.results = set(graph.outputs.values())
        self.at = {node.name: index for index, node in enumerate(graph.nodes)}

    def only(self, value: str) -> Node | None:
        """The one node that reads a value, None if there are more or it is a result."""
        found = self.of[value]
        return found[0] if len(found) == 1 and value not in self.results else None

    def linear(self, value: str) -> Node | None:
        """The product that makes a value which one node reads."""
        node = self.maker.get(value)
        return node if node and node.op == "linear" and self.only(value) else None


def find_fusions(graph: Graph) -> Fusion:
    """Everything that can be fused without changing a number but by its rounding."""
    readers, fusion = _Readers(graph), Fusion()
    for node in graph.nodes:
        if node.op == "gated_activation":
            _find_gate(graph, node, readers, fusion)
    _find_norms(graph, readers, fusion)
    for node in graph.nodes:
        if node.op == "add":
            _find_sum(node, readers, fusion)
        elif node.op == "rope" and _alone(node.inputs[0], readers):
            fusion.in_place.add(node.name)
    for node in graph.nodes:
        if node.op == "linear" and node.name not in fusion.absorbed:
            _find_together(graph, node, readers, fusion)
    return fusion


def _find_gate(graph: Graph, node: Node, readers: _Readers, fusion: Fusion) -> None:
    gate, up = (readers.linear(name) for name in node.inputs)
    if gate is None or up is None or gate is up or gate.inputs != up.inputs:
        return
    first, second = (graph.weights[linear.weights["weight"]] for linear in (gate, up))
    if first.form == second.form and first.shape == second.shape:
        fusion.gates[node.name] = (gate, up)
        fusion.absorbed |= {gate.name, up.name}


def _find_norms(graph: Graph, readers: _Readers, fusion: Fusion) -> None:
    for node in graph.nodes:
        if node.op != "rms_norm" or len(graph.values[node.outputs[0]].shape) != 2:
            continue
        users = readers.of[node.outputs[0]]
        inner = bool(users) and node.outputs[0] not in readers.results
        if inner and all(user.op == "linear" for user in users):
            fusion.norms[node.outputs[0]] = node


def _find_sum(node: Node, readers: _Readers, fusion: Fusion) -> None:
    """product + residual, where the residual is read for the last time."""
    for product, residual in (node.inputs, node.inputs[::-1]):
        linear = readers.linear(product)
        if linear is None or linear.name in fusion.absorbed or product == residual:
            continue
        if _last_read(residual, node, readers, fusion):
            fusion.sums[node.name] = (linear, residual)
            fusion.absorbed.add(linear.name)
            return


def _last_read(value: str, node: Node, readers: _Readers, fusion: Fusion) -> bool:
    """Whether nothing needs a value after `node`, norms that are taken later included."""
    maker = readers.maker.get(value)
    if value in readers.results or maker is None or maker.op in ("reshape", "split", "rope"):
        return False
    for user in readers.of[value]:
        following = [user]
        if user.outputs[0] in fusion.norms:
            following = list(readers.of[user.outputs[0]])
        for reader in following:
            if (
                user.op in ("reshape", "split")
                or _taken_at(reader, readers, fusion) > readers.at[node.name]
            ):
                return False
    return True


def _taken_at(node: Node, readers: _Readers, fusion: Fusion) -> int:
    """Where a node is computed: with the node that it is absorbed by, which reads it."""
    if node.name in fusion.absorbed and (reader := readers.only(node.outputs[0])):
        return readers.at[reader.name]
    return readers.at[node.name]


def _alone(value: str, readers: _Readers) -> bool:
    """Whether one node reads a value, and the memory it is in, which reshapes share."""
    if readers.only(value) is None:
        return False
    maker = readers.maker.get(value)
    if maker is None or maker.op == "split":
        return False
    return _alone(maker.inputs[0], readers) if maker.op == "reshape" else True


def _find_together(graph: Graph, node: Node, readers: _Readers, fusion: Fusion) -> None:
    form = graph.weights[node.weights["weight"]].form
    beside = [
        other
        for other in readers.of[node.inputs[0]]
        if other.op == "linear"
        and other.name not in fusion.absorbed
        and readers.at[other.name] >= readers.at[node.name]
        and graph.weights[other.weights["weight"]].form == form
    ][:_MOST_TOGETHER]
    if len(beside) > 1:
        fusion.together[node.name] = tuple(beside)
        fusion.absorbed |= {other.name for other in beside if other is not node}
