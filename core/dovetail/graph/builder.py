"""GraphBuilder: a graph written down in the order in which it computes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from .graph import (
    COMPUTE_DTYPES,
    Attribute,
    CacheGroup,
    Dim,
    Graph,
    Node,
    Value,
    Weight,
    WeightForm,
)
from .ops import OPS
from .spec import GraphError, infer
from .verify import verify


class GraphBuilder:
    """Collects nodes; shapes and dtypes of values follow from the ops.

    Names: a node is called by its `name` or its op, below the scopes around it ("layers.0.attention"); a value by its
    node, several of one node with the operand's name behind it.

    Every method raises GraphError on a mistake of its caller.
    """

    def __init__(self, name: str, dtype: str, *, chunkable: bool = True) -> None:
        if dtype not in COMPUTE_DTYPES:
            raise GraphError(f"dtype is {dtype!r}; expected one of {', '.join(COMPUTE_DTYPES)}")
        self.name = name
        self.dtype = dtype
        self.chunkable = chunkable
        self._inputs: list[str] = []
        self._nodes: dict[str, Node] = {}
        self._values: dict[str, Value] = {}
        self._weights: dict[str, Weight] = {}
        self._outputs: dict[str, str] = {}
        self._cache: list[CacheGroup] = []
        self._scopes: list[str] = []

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Put `name.` before the names of the nodes made inside."""
        self._scopes.append(name)
        try:
            yield
        finally:
            self._scopes.pop()

    def input(self, name: str, shape: tuple[Dim, ...], dtype: str = "i32") -> Value:
        """A value that the step's Batch provides."""
        self._inputs.append(name)
        return self._value(name, shape, dtype)

    def weight(
        self, name: str, shape: tuple[int, ...], parts: tuple[str, ...] | None = None
    ) -> Weight:
        """A weight, dense in the graph's dtype for now; asked for again, the same one (tied weights).

        parts  the checkpoint's tensors that make it; its own name if None
        """
        form = WeightForm("dense", self.dtype)
        weight = Weight(name, shape, form, (name,) if parts is None else parts)
        if self._weights.setdefault(name, weight) != weight:
            raise GraphError(f"weight {name} is {self._weights[name].shape} and {shape}")
        return weight

    def cache_group(self, group: CacheGroup) -> None:
        """Layers that cache alike."""
        self._cache.append(group)

    def op(
        self,
        op: str,
        *inputs: Value,
        weights: Mapping[str, Weight] | None = None,
        layer: int | None = None,
        name: str | None = None,
        **attributes: Attribute,
    ) -> Value:
        """Append a node with one output and return that."""
        outputs = self.op_many(op, *inputs, weights=weights, layer=layer, name=name, **attributes)
        if len(outputs) != 1:
            raise GraphError(f"{op} has {len(outputs)} outputs here; use op_many")
        return outputs[0]

    def op_many(
        self,
        op: str,
        *inputs: Value,
        weights: Mapping[str, Weight] | None = None,
        layer: int | None = None,
        name: str | None = None,
        **attributes: Attribute,
    ) -> tuple[Value, ...]:
        """Append a node and return its outputs."""
        node_name = self._node_name(name or op)
        spec = OPS.get(op)
        if spec is None:
            raise GraphError(f"{node_name}: unknown op {op}")
        weights = weights or {}
        try:
            normal = spec.normal_attributes(attributes)
            inference = infer(spec, self.dtype, inputs, weights, normal)
        except GraphError as error:
            raise GraphError(f"{node_name}: {error}") from None
        names = output_names(
            node_name, [operand.name for operand in spec.outputs], inference.outputs
        )
        outputs = tuple(
            self._value(value, shape, dtype)
            for value, (shape, dtype) in zip(names, inference.outputs, strict=True)
        )
        self._nodes[node_name] = Node(
            node_name,
            op,
            tuple(value.name for value in inputs),
            tuple(names),
            normal,
            {role: weight.name for role, weight in weights.items()},
            layer,
        )
        return outputs

    def output(self, name: str, value: Value) -> None:
        """Let a value leave the graph under a name: "logits" or "hidden"."""
        self._outputs[name] = value.name

    def build(self) -> Graph:
        """The graph, verified."""
        graph = Graph(
            self.name,
            self.dtype,
            tuple(self._inputs),
            tuple(self._nodes.values()),
            self._values,
            self._weights,
            self._outputs,
            tuple(self._cache),
            self.chunkable,
        )
        verify(graph)
        return graph

    def _value(self, name: str, shape: tuple[Dim, ...], dtype: str) -> Value:
        if name in self._values:
            raise GraphError(f"value {name} exists already")
        self._values[name] = Value(name, shape, dtype)
        return self._values[name]

    def _node_name(self, name: str) -> str:
        full = ".".join((*self._scopes, name))
        unique, count = full, 1
        while unique in self._nodes or unique in self._values:
            count += 1
            unique = f"{full}_{count}"
        return unique


def output_names(node: str, operands: list[str], outputs: tuple[object, ...]) -> list[str]:
    """Names of a node's values: the node's own for one, with the operand's or a number behind it for several."""
    if len(outputs) == 1:
        return [node]
    if len(operands) == len(outputs):
        return [f"{node}.{operand}" for operand in operands]
    return [f"{node}.{operands[0]}{index}" for index in range(len(outputs))]


def with_forms(graph: Graph, forms: Mapping[str, WeightForm]) -> Graph:
    """The graph with other storage forms for some of its weights; KeyError for a name that it has not."""
    weights = dict(graph.weights)
    for name, form in forms.items():
        weights[name] = replace(weights[name], form=form)
    return replace(graph, weights=weights)
