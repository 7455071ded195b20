"""A conformance case as a whole graph, so that it runs through the contract like any model.

Every array that the op reads is looked up by token id in a table of random numbers; every array that it makes leaves
through take_rows. So the device must have embed, reshape and take_rows before it can be asked about anything else.
"""

from __future__ import annotations

from math import prod

from .builder import GraphBuilder
from .cases import Case
from .graph import CacheGroup, Dim, Graph, Value, Weight
from .ops import OPS
from .spec import Operand, OpSpec

CASE_VOCABULARY = 61
"""Ids that a case's tokens are drawn from, except where the case is about the vocabulary (embed)."""

BATCH_VALUES = {
    "ids": "tokens",
    "positions": "positions",
    "rows": "outputs",
    "row_starts": "row_starts",
}
"""Integer operands -> the input of the graph that they are."""


def case_graph(case: Case) -> Graph:
    """The graph of a case: tokens [T], positions [1, T], outputs [N] -> "hidden" [N, ...flat].

    Further outputs of the op are "hidden1", "hidden2", ... The weights are called after the op's operands: "x.table"
    for what stands in for input x, "weight", "bias", "table", ... for the op's own. Token ids are below the first
    axis of the tables, `case_vocabulary(case)`.
    """
    return _CaseGraph(case).build()


def case_vocabulary(case: Case) -> int:
    """Number of different token ids in a case."""
    return case.axes.get("V", CASE_VOCABULARY)


class _CaseGraph:
    def __init__(self, case: Case) -> None:
        self.case = case
        self.spec: OpSpec = OPS[case.op]
        whole = "row_starts" in (operand.name for operand in self.spec.inputs)
        self.builder = GraphBuilder(f"case {case}", case.dtype, chunkable=not whole)
        self.inputs: dict[str, Value] = {
            "tokens": self.builder.input("tokens", ("T",)),
            "positions": self.builder.input("positions", (1, "T")),
            "outputs": self.builder.input("outputs", ("N",)),
        }
        if whole:
            self.inputs["row_starts"] = self.builder.input("row_starts", ("G",))

    def build(self) -> Graph:
        if self.spec.layered:
            self._cache_group()
        for index, value in enumerate(self._outputs()):
            name = f"hidden{index or ''}"
            self.builder.output(name, self._leave(value, name))
        return self.builder.build()

    def _outputs(self) -> tuple[Value, ...]:
        case = self.case
        if case.op == "kv_write":  # what it wrote shows only in what attention reads
            q = self._look_up(Operand("q", "T K D"))
            return (self._attention(q, self._written(), case.axes["D"] ** -0.5),)
        operands = [self._operand(operand) for operand in self.spec.inputs]
        weights = {
            operand.name: self._weight(operand)
            for operand in self.spec.weights
            if not operand.optional or operand.name in case.weights
        }
        layer = 0 if self.spec.layered else None
        made = self.builder.op_many(
            case.op, *operands, weights=weights, layer=layer, name="case", **case.attributes
        )
        if made[-1].dtype == "cache":  # a fused op that ends with a write
            return (self._attention(made[0], made[-1], case.axes["D"] ** -0.5),)
        return made

    def _operand(self, operand: Operand) -> Value:
        if operand.dtype == "i32":
            return self.inputs[BATCH_VALUES[operand.name]]
        return self._written() if operand.dtype == "cache" else self._look_up(operand)

    def _look_up(self, operand: Operand) -> Value:
        """A value [T, ...] whose row depends on the token's id alone."""
        shape = self._tail(operand)
        table = self.builder.weight(
            f"{operand.name}.table", (case_vocabulary(self.case), prod(shape))
        )
        x = self.builder.op(
            "embed", self.inputs["tokens"], weights={"table": table}, name=f"{operand.name}_rows"
        )
        if len(shape) == 1:
            return x
        return self.builder.op("reshape", x, shape=shape, name=operand.name)

    def _tail(self, operand: Operand) -> tuple[int, ...]:
        """Lengths of an operand's axes after T."""
        letters = operand.axes.split()
        any_axes = letters[0] == "*"
        own = tuple(self._length(letter) for letter in letters[1:])
        return (*self.case.leading, *own) if any_axes else own

    def _length(self, letter: str) -> int:
        if letter[0].isdigit():
            return int(letter[0]) * self.case.axes[letter[1:]]
        return self.case.axes[letter]

    def _weight(self, operand: Operand) -> Weight:
        shape = tuple(self.case.axes[letter] for letter in operand.axes.split())
        return self.builder.weight(operand.name, shape)

    def _written(self) -> Value:
        k, v = (self._look_up(operand) for operand in OPS["kv_write"].inputs)
        return self.builder.op("kv_write", k, v, layer=0)

    def _attention(self, q: Value, written: Value, scale: float) -> Value:
        axes = self.case.axes
        return self.builder.op(
            "attention",
            q,
            written,
            layer=0,
            scale=scale,
            kv_heads=axes["K"],
            value_width=axes["Dv"],
        )

    def _cache_group(self) -> None:
        axes, window = self.case.axes, self.case.attributes.get("window")
        assert window is None or isinstance(window, int)
        self.builder.cache_group(CacheGroup("case", (0,), axes["K"], axes["D"], axes["Dv"], window))

    def _leave(self, value: Value, name: str) -> Value:
        """Rows of a value that the step asks for, as a matrix."""
        lead, *rest = value.shape
        if len(rest) != 1:
            value = self.builder.op("reshape", value, shape=(_flat(rest),), name=f"{name}_flat")
        if lead == "N":
            return value
        return self.builder.op("take_rows", value, self.inputs["outputs"], name=name)


def _flat(lengths: list[Dim]) -> int:
    return prod(length for length in lengths if isinstance(length, int))
