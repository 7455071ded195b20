"""What `shard` decides: which weights and values are divided, and where members must exchange numbers.

Two walks over a graph of plain ops. `Wishes` looks forward: how could what a product makes stay divided until the next
product? `divide` goes in order, divides the products whose wish holds, and follows the pieces. Where pieces meet whole values,
the products that they came from are left whole, and the walk begins again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dovetail.errors import ConfigError
from dovetail.graph.graph import Graph, Node
from dovetail.graph.sharding import Section, Split

from .rewrite import Users

POINTWISE = frozenset({"activation", "scale", "soft_cap", "tanh", "add", "mul"})
NORMS = frozenset({"rms_norm", "layer_norm"})
ATTENTION = frozenset({"attention", "sink_attention", "whole_attention"})


@dataclass(slots=True)
class Division:
    """The annotations of a Sharding, and the values that a collective follows: name -> all_reduce or all_gather."""

    members: int
    weights: dict[str, Split] = field(default_factory=dict)
    once: set[str] = field(default_factory=set)
    values: dict[str, Split] = field(default_factory=dict)
    heads: dict[str, Split] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)


def divide(graph: Graph, members: int) -> Division:
    """How a graph of plain ops is divided. Raises ConfigError where something that has to divide does not."""
    whole: set[str] = set()
    while True:
        walk = Walk(graph, members, whole)
        try:
            return walk.run()
        except Conflict as conflict:
            assert not conflict.products <= whole
            whole |= conflict.products


class Conflict(Exception):
    """Pieces met whole values, or pieces cut otherwise; `products` made them."""

    def __init__(self, products: set[str]) -> None:
        super().__init__(products)
        self.products = products


def parts_of(count: int, members: int, what: str, node: str) -> int:
    """Parts of a number of equal things; a count that members divide, or for key heads one that divides them."""
    if count % members == 0:
        return members
    if what == "key heads" and members % count == 0:
        return count
    raise ConfigError(
        f"--tensor-parallel-size is {members}, which does not divide the {count} {what} of {node}; take one that does"
    )


class Wishes:
    """How values could stay divided until the next product, found by looking at their users."""

    def __init__(self, graph: Graph, members: int) -> None:
        self._graph, self._members = graph, members
        self._users = Users(graph)
        self._leaving = set(graph.outputs.values())
        self._known: dict[str, tuple[Section, ...] | None] = {}

    def of(self, value: str) -> tuple[Section, ...] | None:
        """Sections of the axis after T, None where the value has to be whole."""
        if value not in self._known:
            self._known[value] = None  # while it is being asked for
            self._known[value] = self._find(value)
        return self._known[value]

    def _find(self, value: str) -> tuple[Section, ...] | None:
        users = self._users.of.get(value, [])
        if value in self._leaving or not users:
            return None
        wishes = {self._by(node, value) for node in users}
        return wishes.pop() if len(wishes) == 1 else None

    def _by(self, node: Node, value: str) -> tuple[Section, ...] | None:
        """What one user would have."""
        shape = self._graph.values[value].shape
        if node.op == "linear":
            if len(shape) != 2:
                return None
            width = int(shape[1])
            return (Section(width, parts_of(width, self._members, "inputs", node.name)),)
        if node.op == "kv_write" or node.op in ATTENTION:
            return self._heads(node, value)
        if node.op == "split":
            pieces = [self.of(name) for name in node.outputs] if len(shape) == 2 else [None]
            found = [sections for sections in pieces if sections is not None]
            return sum(found, ()) if len(found) == len(pieces) else None
        kept = node.op in POINTWISE or (node.op in NORMS and len(shape) > 2)
        if kept or (node.op in ("rope", "take_rows") and node.inputs[0] == value):
            return self.of(node.outputs[0])
        if node.op == "reshape":
            after = self.of(node.outputs[0])
            length = int(self._graph.values[node.outputs[0]].shape[1])
            return None if after is None else rescaled(after, length, int(shape[1]))
        return None

    def _heads(self, node: Node, value: str) -> tuple[Section, ...] | None:
        heads = int(self._graph.values[value].shape[1])
        key = node.op == "kv_write" or (node.op == "whole_attention" and value != node.inputs[0])
        what = "key heads" if key else "heads"
        parts = parts_of(heads, self._members, what, node.name)
        if not key and self.of(node.outputs[0]) is None:
            return None
        return (Section(heads, parts),)


def rescaled(sections: Sequence[Section], before: int, after: int) -> tuple[Section, ...] | None:
    """Sections of an axis of `before` for one of `after`, which holds the same numbers in larger or smaller pieces."""
    made = [
        Section(section.length * after // before, section.parts)
        for section in sections
        if section.length * after % before == 0
    ]
    fits = len(made) == len(sections) and all(s.length % s.parts == 0 for s in made)
    return tuple(made) if fits else None


class Walk:
    """Follows the pieces through a graph, in order.

    whole  products that are not to be column-parallel
    """

    def __init__(self, graph: Graph, members: int, whole: set[str]) -> None:
        self.graph, self.whole = graph, whole
        self.found = Division(members)
        self.wishes = Wishes(graph, members)
        self.origins: dict[str, set[str]] = {}
        self.written: dict[int, set[str]] = {}
        self.logits = vocabulary_products(graph)

    def run(self) -> Division:
        """The division. Raises Conflict."""
        for node in self.graph.nodes:
            if node.op == "linear":
                self._linear(node)
            elif node.op == "embed" and node.inputs[0] == self.graph.inputs[0]:
                self._embed(node)
            elif node.op == "mixture":
                self._mixture(node)
            else:
                self._follow(node)
        return self.found

    def _linear(self, node: Node) -> None:
        split = self.found.values.get(node.inputs[0])
        if split is not None:
            self._row_parallel(node, split)
            return
        name, outputs = node.outputs[0], self.graph.weights[node.weights["weight"]].shape[0]
        sections = None if node.name in self.whole else self.wishes.of(name)
        if sections is not None:
            self._column_parallel(node, sections)
        elif node.name in self.logits and outputs % self.found.members == 0:
            self._column_parallel(node, (Section(outputs, self.found.members),))
            self.found.moved[name] = "all_gather"

    def _column_parallel(self, node: Node, sections: tuple[Section, ...]) -> None:
        for weight in node.weights.values():
            self._divide(weight, Split(0, sections), node)
        self._mark(node.outputs[0], Split(1, sections), {node.name})

    def _row_parallel(self, node: Node, split: Split) -> None:
        self._divide_inputs(node, "weight", split)
        if "bias" in node.weights:
            self.found.once.add(node.weights["bias"])
        self.found.moved[node.outputs[0]] = "all_reduce"

    def _divide_inputs(self, node: Node, role: str, split: Split) -> None:
        """Of a row-parallel product, whose groups of int4 must stay whole."""
        weight = self.graph.weights[node.weights[role]]
        group = weight.form.group or 1
        if any(section.local % group for section in split.sections):
            raise ConfigError(
                f"--tensor-parallel-size is {self.found.members}, which leaves {split.local} inputs of {weight.name} to a "
                f"device; its form {weight.form} needs a multiple of {group}: take fewer devices or another --quantization"
            )
        self._divide(weight.name, Split(1, split.sections), node)

    def _mixture(self, node: Node) -> None:
        """Every member has a part of every expert: gate and up column-parallel, down row-parallel."""
        sources = [self.origins.get(name, set()) for name in node.inputs if self._piece(name)]
        if sources:
            raise Conflict(set().union(*sources))
        inner = self.graph.weights[node.weights["down"]].shape[1]
        experts = int(self.graph.values[node.inputs[1]].shape[1])
        own = Section(inner, parts_of(inner, self.found.members, "inner numbers", node.name))
        self._divide(node.weights["gate_up"], Split(0, (own,) * (2 * experts)), node)
        self._divide_inputs(node, "down", Split(1, (own,)))
        self.found.moved[node.outputs[0]] = "all_reduce"

    def _embed(self, node: Node) -> None:
        table = self.graph.weights[node.weights["table"]]
        rows = table.shape[0]
        if rows % self.found.members == 0:
            self._divide(table.name, Split(0, (Section(rows, self.found.members),)), node)
            self.found.moved[node.outputs[0]] = "all_reduce"

    def _divide(self, weight: str, split: Split, node: Node) -> None:
        """A weight that two nodes would have differently is a fault of the rules above, or a model nobody thought of."""
        if self.found.weights.setdefault(weight, split) != split:
            raise ConfigError(
                f"weight {weight} cannot be divided as {node.name} and another node would have it; "
                "serve this model with --tensor-parallel-size 1"
            )

    def _follow(self, node: Node) -> None:
        """A node that is no product: its outputs are divided as its inputs are."""
        pieces = [self._piece(name) for name in node.inputs if self._numbers(name)]
        if all(piece is None for piece in pieces):
            return
        sources = set().union(*(self.origins.get(name, set()) for name in node.inputs))
        made = self._outputs(node, pieces)
        if made is None:
            raise Conflict(sources)
        for name, split in zip(node.outputs, made, strict=True):
            self._mark(name, split, sources)

    def _outputs(self, node: Node, pieces: list[Split | None]) -> list[Split] | None:
        """Splits of a node's outputs, None where it cannot work on these pieces."""
        first, shape = pieces[0], self.graph.values[node.inputs[0]].shape
        if first is None:
            return None
        same = all(piece == first for piece in pieces)
        if node.op in POINTWISE or node.op in ("rope", "take_rows"):
            return [first] if same else None
        if node.op in NORMS:
            return [first] if len(shape) > 2 else None
        if node.op == "reshape":
            length = int(self.graph.values[node.outputs[0]].shape[1])
            sections = rescaled(first.sections, int(shape[1]), length)
            return None if sections is None else [Split(1, sections)]
        if node.op == "split":
            return cut(first, node.attributes["sizes"]) if len(shape) == 2 else None
        if node.op == "kv_write":
            return [self._written(node, first)] if same else None
        if node.op in ATTENTION:
            if node.weights and None not in pieces:
                self._divide(node.weights["sinks"], Split(0, first.sections), node)
            return None if None in pieces else [first]
        return None

    def _written(self, node: Node, split: Split) -> Split:
        assert node.layer is not None
        self.found.heads[self.graph.cache[self.graph.group_of(node.layer)].name] = split
        return split

    def _piece(self, name: str) -> Split | None:
        return None if name in self.found.moved else self.found.values.get(name)

    def _numbers(self, name: str) -> bool:
        return self.graph.values[name].dtype != "i32"

    def _mark(self, name: str, split: Split, sources: set[str]) -> None:
        self.found.values[name] = split
        self.origins[name] = sources


def cut(split: Split, sizes: object) -> list[Split] | None:
    """Splits of consecutive pieces, each of whole sections."""
    assert isinstance(sizes, tuple)
    left, made = list(split.sections), []
    for size in sizes:
        own: list[Section] = []
        while left and sum(section.length for section in own) < size:
            own.append(left.pop(0))
        if sum(section.length for section in own) != size:
            return None
        made.append(Split(1, tuple(own)))
    return made


def vocabulary_products(graph: Graph) -> set[str]:
    """The linears whose outputs are the logits, but for what works on one number at a time."""
    makers = {name: node for node in graph.nodes for name in node.outputs}
    found, value = set(), graph.outputs.get("logits", "")
    while (node := makers.get(value)) is not None and node.op in ("scale", "soft_cap", "linear"):
        if node.op == "linear":
            found.add(node.name)
            break
        value = node.inputs[0]
    return found
