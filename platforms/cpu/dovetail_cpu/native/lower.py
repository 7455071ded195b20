"""A graph as steps of the kernel library: which nodes become one step, and in which memory values are.

Fused where the graph allows it: a norm into the quantisation of its result, q, k and v into one step, gate, up and
activation into one, a residual sum into the product that is added, rotation in place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from dovetail.graph import Graph, Node, Weight
from dovetail.platform import WeightSource
from numpy.typing import NDArray

from dovetail_cpu.lowering import attention_widths, number, numbers
from dovetail_cpu.measured import Activations

from . import bindings
from .fusion import Fusion, find_fusions
from .resident import Resident
from .steps import Made, Place, Steps


def lower(graph: Graph, source: WeightSource, *, activations: Mapping[str, Activations]) -> Steps:
    """Steps of a graph that `usable` has accepted.

    activations  how they are quantised, by the kind of the weights they meet
    """
    state = Lowering(graph, source, activations)
    for node in graph.nodes:
        state.lower(node)
    for index, value in enumerate(graph.outputs.values()):
        state.deliver(value, index)
    return state.steps


class Lowering:
    """One graph on its way."""

    def __init__(
        self, graph: Graph, source: WeightSource, activations: Mapping[str, Activations]
    ) -> None:
        self.steps = Steps()
        self._graph = graph
        self._source = source
        self._activations = activations
        self._resident = Resident()
        self._fusion: Fusion = find_fusions(graph)
        self._places: dict[str, Place] = {}
        self._matrices: dict[tuple[str, str], int] = {}
        self._packs: dict[tuple[int, ...], int] = {}
        self._packed_now: dict[int, tuple[Place, str]] = {}
        self._tables: dict[tuple[tuple[float, ...], float], Place] = {}
        self._blocked: set[str] = set()
        self._results = {value: -1 - i for i, value in enumerate(graph.outputs.values())}
        self._written: dict[str, tuple[str, str]] = {}

    def lower(self, node: Node) -> None:
        if node.name not in self._fusion.absorbed:
            _LOWER[node.op](self, node)

    def deliver(self, value: str, index: int) -> None:
        """Into the caller's memory, unless it was computed there."""
        place = self._places[value]
        if place.slot != -1 - index:
            target = Place(-1 - index, 0, place.width, place.outputs)
            self.steps.add(Made("scale", (place,), (target,), scalars=(1.0,)))

    # ---------------------------------------------------------------------------------------- values

    def place(self, value: str) -> Place:
        return self._places[value]

    def make(self, value: str) -> Place:
        """Memory for a value that a step writes: the caller's where it is a result and nothing else reads it."""
        known = self._graph.values[value]
        width = int(np.prod([int(axis) for axis in known.shape[1:]]))
        outputs = known.shape[0] == "N"
        if value in self._results and not any(self._graph.uses(value)):
            self._places[value] = Place(self._results[value], 0, width, outputs)
        else:
            self._places[value] = self.steps.slot(width, outputs)
        return self._places[value]

    def same(self, value: str, place: Place) -> Place:
        """A value in memory that another one had."""
        self._places[value] = place
        self._packed_now = {k: v for k, v in self._packed_now.items() if v[0].slot != place.slot}
        return place

    def vector(self, name: str) -> NDArray[np.float32]:
        array = np.array(self._source.read(name), np.float32).reshape(-1)
        self.steps.arrays.append(array)
        return array

    def kept(self, numbers: object) -> NDArray[np.float32]:
        array = np.ascontiguousarray(numbers, np.float32)
        self.steps.arrays.append(array)
        return array

    # ---------------------------------------------------------------------------------------- weights

    def matrix(self, name: str, bias: str = "") -> int:
        key = (name, bias)
        if key not in self._matrices:
            self.steps.matrices.append(self._matrix(self._source.spec(name), bias))
            self._matrices[key] = len(self.steps.matrices) - 1
        return self._matrices[key]

    def _matrix(self, weight: Weight, bias: str) -> bindings.Matrix:
        form = weight.form
        planes: dict[str, NDArray[np.generic]] = {}
        for plane in self._source.planes(weight.name):
            array = self._source.read(weight.name, plane)
            if plane == "scale":
                array = np.asarray(array, np.float32)
            planes[plane] = array = self._resident.keep(array)
            self.steps.arrays.append(array)
        pointer = {plane: array.ctypes.data for plane, array in planes.items()}
        return bindings.Matrix(
            pointer["data"],
            pointer.get("scale"),
            pointer.get("zero"),
            self.vector(bias).ctypes.data if bias else None,
            weight.shape[0],
            weight.shape[1],
            bindings.FORM[form.kind],
            self._group(weight),
        )

    def _group(self, weight: Weight) -> int:
        """Inputs that share a scale, of the weight's or of what it is multiplied with; 0: all."""
        if weight.form.kind == "int4_group":
            return weight.form.group
        group = self._quantised(weight).group
        return group if group < weight.shape[1] else 0

    def _quantised(self, weight: Weight) -> Activations:
        return self._activations.get(weight.form.kind, Activations())

    def packed(self, value: str, weight: Weight) -> int:
        """Index of the packed form of a value that a weight is multiplied with; made if it is not there."""
        norm = self._fusion.norms.get(value)
        place = self._places[norm.inputs[0] if norm else value]
        form, group = weight.form.kind, self._group(weight)
        spec = (
            weight.shape[1],
            group if group < weight.shape[1] else 0,
            bindings.FORM[form],
            group if form == "int4_group" else 0,
            int(place.outputs),
            self._quantised(weight).terms,
        )
        if spec not in self._packs:
            self.steps.packed.append(bindings.PackedSpec(*spec))
            self._packs[spec] = len(self.steps.packed) - 1
        index = self._packs[spec]
        key = (place, norm.name if norm else "")
        if self._packed_now.get(index) != key:
            blocked = value in self._blocked
            step = Made("pack", (place,), packed=index, numbers=(int(blocked),))
            if norm:
                step.weight = self.vector(norm.weights["weight"])
                step.scalars = (number(norm, "eps"),)
            self.steps.add(step)
            self._packed_now[index] = key
        return index

    def _only_packed(self, value: str, made_by: Weight) -> bool:
        """Whether a value, like the one it is made of, is only ever multiplied with int8 weights."""
        users = list(self._graph.uses(value))
        forms = [made_by.form.kind]
        forms += [
            self._graph.weights[user.weights["weight"]].form.kind
            for user in users
            if user.op == "linear"
        ]
        only = len(forms) == len(users) + 1 and value not in self._results
        return only and all(form == "int8_channel" for form in forms)

    # ---------------------------------------------------------------------------------------- ops

    def linear(self, node: Node) -> None:
        """With those beside it that read the same."""
        nodes = self._fusion.together.get(node.name, (node,))
        weights = [self._graph.weights[other.weights["weight"]] for other in nodes]
        packed = self.packed(node.inputs[0], weights[0])
        places = tuple(self.make(other.outputs[0]) for other in nodes)
        indices = tuple(self._linear_matrix(other) for other in nodes)
        self.steps.add(Made("product", (), places, indices, packed))

    def _linear_matrix(self, node: Node) -> int:
        return self.matrix(node.weights["weight"], node.weights.get("bias", ""))

    def add(self, node: Node) -> None:
        if node.name in self._fusion.sums:
            linear, residual = self._fusion.sums[node.name]
            weight = self._graph.weights[linear.weights["weight"]]
            packed = self.packed(linear.inputs[0], weight)
            place = self.same(node.outputs[0], self._places[residual])
            indices = (self._linear_matrix(linear),)
            self.steps.add(Made("product", (), (place,), indices, packed, numbers=(1,)))
        else:
            self.elementwise("add", node)

    def gated(self, node: Node) -> None:
        activation = bindings.ACTIVATION[str(node.attributes["activation"])]
        if pair := self._fusion.gates.get(node.name):
            weight = self._graph.weights[pair[0].weights["weight"]]
            packed = self.packed(pair[0].inputs[0], weight)
            indices = tuple(self._linear_matrix(linear) for linear in pair)
            place = self.make(node.outputs[0])
            if blocked := self._only_packed(node.outputs[0], weight):
                self._blocked.add(node.outputs[0])
            step = Made(
                "product", (), (place,), indices, packed, numbers=(0, 1, activation, int(blocked))
            )
        else:
            inputs = tuple(self._places[name] for name in node.inputs)
            step = Made("activate", inputs, (self.make(node.outputs[0]),), numbers=(activation,))
        self.steps.add(step)

    def norm(self, node: Node) -> None:
        if node.outputs[0] in self._fusion.norms:
            return
        shape = self._graph.values[node.inputs[0]].shape
        heads, width = int(np.prod([int(axis) for axis in shape[1:-1]])), int(shape[-1])
        place = self._places[node.inputs[0]]
        step = Made("norm", (place,), (self.make(node.outputs[0]),), numbers=(heads, width))
        step.weight, step.scalars = self.vector(node.weights["weight"]), (number(node, "eps"),)
        self.steps.add(step)

    def rope(self, node: Node) -> None:
        frequencies, factor = numbers(node, "frequencies"), number(node, "factor", 1.0)
        half = len(frequencies)
        if (frequencies, factor) not in self._tables:
            table = self.steps.slot(2 * half, outputs=False)
            step = Made("rope_table", (), (table,), numbers=(half,), scalars=(factor,))
            step.weight = self.kept(frequencies)
            self.steps.add(step)
            self._tables[frequencies, factor] = table
        heads, width = (int(axis) for axis in self._graph.values[node.inputs[0]].shape[1:])
        source = self._places[node.inputs[0]]
        alone = node.name in self._fusion.in_place and source.slot >= 0
        target = self.same(node.outputs[0], source) if alone else self.make(node.outputs[0])
        shape = (heads, width, half, int(bool(node.attributes.get("interleaved"))))
        inputs = (source, self._tables[frequencies, factor])
        self.steps.add(Made("rope", inputs, (target,), numbers=shape))

    def attention(self, node: Node) -> None:
        layer = node.layer if node.layer is not None else -1
        names = node.inputs
        if node.op == "attention":
            names = (node.inputs[0], *self._written[node.inputs[1]])
        widths = attention_widths(self._graph, node)
        window = node.attributes.get("window")
        cap = node.attributes.get("soft_cap")
        shape = (widths.heads, widths.kv_heads, widths.key_width, widths.value_width)
        step = Made(
            "attention",
            tuple(self._places[name] for name in names),
            (self.make(node.outputs[0]),),
            layer=layer,
            group=self._graph.group_of(layer),
            numbers=(*shape, window if isinstance(window, int) else 0),
            scalars=(number(node, "scale"), float(cap) if isinstance(cap, int | float) else 0.0),
        )
        self.steps.add(step)

    def kv_write(self, node: Node) -> None:
        """Held back: the attention that reads the cache writes it first."""
        self._written[node.outputs[0]] = (node.inputs[0], node.inputs[1])

    def elementwise(self, op: str, node: Node, **fields: Any) -> None:
        inputs = tuple(self._places[name] for name in node.inputs)
        self.steps.add(Made(op, inputs, (self.make(node.outputs[0]),), **fields))

    def reshape(self, node: Node) -> None:
        self._places[node.outputs[0]] = self._places[node.inputs[0]]

    def split(self, node: Node) -> None:
        place = self._places[node.inputs[0]]
        at = place.offset
        for name in node.outputs:
            width = int(self._graph.values[name].shape[-1])
            self._places[name] = Place(place.slot, at, width, place.outputs)
            at += width

    def embed(self, node: Node) -> None:
        index = self.matrix(node.weights["table"])
        self.steps.add(Made("embed", (), (self.make(node.outputs[0]),), (index,)))

    def take_rows(self, node: Node) -> None:
        source = self._places[node.inputs[0]]
        self.steps.add(Made("take_rows", (source,), (self.make(node.outputs[0]),)))

    def activation(self, node: Node) -> None:
        activation = bindings.ACTIVATION[str(node.attributes["activation"])]
        self.elementwise("activate", node, numbers=(activation,))

    def scale(self, node: Node) -> None:
        self.elementwise("scale", node, scalars=(number(node, "factor"),))


_LOWER: Mapping[str, Callable[[Lowering, Node], None]] = {
    "embed": Lowering.embed,
    "linear": Lowering.linear,
    "rms_norm": Lowering.norm,
    "rope": Lowering.rope,
    "kv_write": Lowering.kv_write,
    "attention": Lowering.attention,
    "attention_write": Lowering.attention,
    "gated_activation": Lowering.gated,
    "activation": Lowering.activation,
    "add": Lowering.add,
    "mul": lambda state, node: state.elementwise("multiply", node),
    "scale": Lowering.scale,
    "split": Lowering.split,
    "reshape": Lowering.reshape,
    "take_rows": Lowering.take_rows,
}

OPS = frozenset(_LOWER)
"""Ops that the library runs."""
