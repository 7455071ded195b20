"""What an op is, as data: its operands over axis letters, its attributes, and how shapes follow from them.

`ops.py` holds the ops themselves. Nothing here computes numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from .cases import Case
from .graph import Attribute, Dim, Value, Weight

Shape = tuple[Dim, ...]
Attributes = Mapping[str, Attribute]
AttributeKind = Literal["int", "float", "bool", "str", "ints", "floats"]


class GraphError(ValueError):
    """A graph, or a node of it, is malformed: the mistake of whoever built it, never of a user."""


@dataclass(frozen=True, slots=True)
class Operand:
    """An input, weight or output of an op.

    axes      letters, "T H D"; a leading "*" stands for any number of axes, the same ones for every operand of the op;
              "2F" is an axis of twice F
    dtype     of the values, empty for the graph's own
    optional  for weights: the op can do without
    """

    name: str
    axes: str
    dtype: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class AttributeSpec:
    """A typed attribute.

    required  a node must give it; otherwise it gets `default`
    nullable  None is a value it may have
    at_least  lower limit of the number, or of each number of a tuple
    choices   of a string
    """

    name: str
    kind: AttributeKind
    required: bool = True
    default: Attribute = None
    nullable: bool = False
    at_least: float | None = None
    choices: tuple[str, ...] = ()

    def normal(self, value: Attribute) -> Attribute:
        """The value in its one form (float for a float, tuple for a sequence); raises GraphError if it does not fit."""
        if value is None and self.nullable:
            return None
        single = self.kind.removesuffix("s") if self.kind.endswith("ts") else ""
        if single and isinstance(value, Sequence) and not isinstance(value, str):
            return tuple(self._number(single, item) for item in value)
        if self.kind in ("int", "float") and not isinstance(value, tuple):
            return self._number(self.kind, value)
        if self.kind == "bool" and isinstance(value, bool):
            return value
        if self.kind == "str" and isinstance(value, str) and value in self.choices:
            return value
        one_of = f", one of {', '.join(self.choices)}" if self.choices else ""
        raise GraphError(f"attribute {self.name} is {value!r}; expected {self.kind}{one_of}")

    def _number(self, kind: str, value: object) -> int | float:
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole and not (
            kind == "float" and isinstance(value, float) and math.isfinite(value)
        ):
            raise GraphError(f"attribute {self.name} holds {value!r}; expected {kind}")
        assert isinstance(value, int | float)
        if self.at_least is not None and value < self.at_least:
            raise GraphError(
                f"attribute {self.name} holds {value!r}; at least {self.at_least} is needed"
            )
        return float(value) if kind == "float" else value


@dataclass(frozen=True, slots=True)
class Length:
    """In a decomposition, an attribute's value: the length of an axis of the fused op."""

    letter: str


@dataclass(frozen=True, slots=True)
class Lengths:
    """In a decomposition, an attribute's value: the lengths of several axes, as a tuple."""

    letters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One node of a decomposition, and of the pattern that fusion looks for.

    inputs, outputs  names of the fused op's operands, or local names that earlier steps made
    weights          role in this step -> role in the fused op
    attributes       name in this step -> name of the fused op's attribute, or a length
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, str | Length | Lengths] = field(default_factory=dict)


@dataclass(slots=True)
class Axes:
    """Lengths bound to axis letters; `leading` is what "*" stands for, None while unknown."""

    lengths: dict[str, Dim] = field(default_factory=dict)
    leading: Shape | None = None

    def bind(self, operand: Operand, shape: Shape) -> None:
        """Make the letters of an operand stand for a shape's lengths; raises GraphError where they disagree."""
        letters = operand.axes.split()
        if letters[:1] == ["*"]:
            letters = letters[1:]
            cut = len(shape) - len(letters)
            leading, shape = shape[: max(cut, 0)], shape[max(cut, 0) :]
            if self.leading not in (None, leading):
                raise GraphError(f"{operand.name} has leading axes {leading}, not {self.leading}")
            self.leading = leading
        if len(letters) != len(shape):
            raise GraphError(f"{operand.name} has shape {shape}; expected [{operand.axes}]")
        for letter, length in zip(letters, shape, strict=True):
            self._bind_letter(operand, letter, length)

    def _bind_letter(self, operand: Operand, letter: str, length: Dim) -> None:
        if letter[0].isdigit():
            times, letter = int(letter[0]), letter[1:]
            if not isinstance(length, int) or length % times:
                raise GraphError(f"{operand.name} has an axis of {length}; {times} must divide it")
            length //= times
        if self.lengths.setdefault(letter, length) != length:
            raise GraphError(
                f"{operand.name} has {letter} = {length}; elsewhere it is {self.lengths[letter]}"
            )

    def shape(self, operand: Operand) -> Shape:
        """The shape of an operand whose letters are all bound."""
        letters = operand.axes.split()
        leading: Shape = ()
        if letters[:1] == ["*"]:
            leading, letters = self.leading or (), letters[1:]
        return leading + tuple(self.lengths[letter] for letter in letters)

    def number(self, letter: str) -> int:
        """A length that must be known before a step runs; raises GraphError if it is not."""
        length = self.lengths.get(letter)
        if not isinstance(length, int):
            raise GraphError(f"axis {letter} is {length}; a number is needed")
        return length


Rule = Callable[[Axes, Attributes], Sequence[Shape] | None]
"""Checks lengths against attributes, binds letters that only outputs have, and returns the outputs' shapes where
letters cannot say them."""


@dataclass(frozen=True, slots=True)
class OpSpec:
    """The definition of an op; the NumPy reference in the SDK says what it computes.

    summary        one line for people
    revision       raised when the meaning changes; a device names the revision that it understands
    layered        reads or writes the cache layer `node.layer`
    rule           see Rule
    decomposition  simpler ops that do the same, in order; also the pattern that fusion replaces by this op
    tolerance      per dtype, the largest normalised mean squared error against the reference
    cases          conformance cases, always the same ones in the same order
    """

    name: str
    summary: str
    inputs: tuple[Operand, ...]
    outputs: tuple[Operand, ...]
    tolerance: Mapping[str, float]
    cases: Callable[[], Iterable[Case]]
    weights: tuple[Operand, ...] = ()
    attributes: tuple[AttributeSpec, ...] = ()
    revision: int = 1
    layered: bool = False
    rule: Rule | None = None
    decomposition: tuple[Step, ...] = ()

    def normal_attributes(self, given: Attributes) -> Attributes:
        """All attributes in their one form, defaults filled in; raises GraphError."""
        names = {attribute.name for attribute in self.attributes}
        if unknown := sorted(set(given) - names):
            raise GraphError(f"unknown attributes {', '.join(unknown)}")
        normal: dict[str, Attribute] = {}
        for attribute in self.attributes:
            if attribute.name in given:
                normal[attribute.name] = attribute.normal(given[attribute.name])
            elif attribute.required:
                raise GraphError(f"attribute {attribute.name} is missing")
            else:
                normal[attribute.name] = attribute.default
        return MappingProxyType(normal)


@dataclass(frozen=True, slots=True)
class Inference:
    """What follows from a node's operands: (shape, dtype) per output, and the lengths of the axes."""

    outputs: tuple[tuple[Shape, str], ...]
    axes: Axes


def infer(
    spec: OpSpec,
    dtype: str,
    inputs: Sequence[Value],
    weights: Mapping[str, Weight],
    attributes: Attributes,
) -> Inference:
    """Shapes and dtypes of an op's outputs in a graph of that dtype.

    attributes are normal ones. Raises GraphError where an operand has another number, dtype or shape than it should.
    """
    axes = Axes()
    if len(inputs) != len(spec.inputs):
        raise GraphError(f"{len(inputs)} inputs; {spec.name} takes {len(spec.inputs)}")
    for operand, value in zip(spec.inputs, inputs, strict=True):
        if value.dtype != (operand.dtype or dtype):
            raise GraphError(
                f"{operand.name} has dtype {value.dtype}; expected {operand.dtype or dtype}"
            )
        axes.bind(operand, value.shape)
    roles = {operand.name for operand in spec.weights}
    if unknown := sorted(set(weights) - roles):
        raise GraphError(f"unknown weights {', '.join(unknown)}")
    for operand in spec.weights:
        if operand.name in weights:
            axes.bind(operand, weights[operand.name].shape)
        elif not operand.optional:
            raise GraphError(f"weight {operand.name} is missing")
    shapes = spec.rule(axes, attributes) if spec.rule else None
    if shapes is None:
        shapes = [axes.shape(operand) for operand in spec.outputs]
    dtypes = [operand.dtype or dtype for operand in spec.outputs]
    dtypes += dtypes[-1:] * (len(shapes) - len(dtypes))
    return Inference(tuple(zip(shapes, dtypes, strict=True)), axes)
