"""What is made of a model's hidden states besides the next token's logits: a vector or scores per sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dovetail.errors import UnsupportedModel
from dovetail.graph import GraphBuilder, Value

Pooling = Literal["cls", "mean", "last"]
POOLINGS: tuple[Pooling, ...] = ("cls", "mean", "last")


@dataclass(frozen=True, slots=True)
class Dense:
    """A linear layer behind the pooling, as sentence-transformers has it.

    name        of its tensors, short of ".weight" and ".bias"
    activation  "tanh", or None for none
    """

    name: str
    inputs: int
    outputs: int
    bias: bool
    activation: str | None


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a pooled model's graph.

    task     embed: the pooled vector, through `dense`; score: the numbers of a classification head
    pooling  cls takes a sequence's first token, last its last one, mean the mean of all
    """

    task: Literal["embed", "score"]
    pooling: Pooling
    dense: tuple[Dense, ...] = ()


def pool(build: GraphBuilder, x: Value, rows: Value, row_starts: Value, pooling: Pooling) -> Value:
    """[T, E] -> [N, E]; the step asks for the first token of a row with cls, for the last one otherwise."""
    if pooling == "mean":
        return build.op("mean_rows", x, row_starts, rows, name="pooled")
    return build.op("take_rows", x, rows, name="pooled")


def dense(build: GraphBuilder, x: Value, layers: tuple[Dense, ...]) -> Value:
    """[N, E] through the linear layers."""
    for index, layer in enumerate(layers):
        if x.shape[-1] != layer.inputs:
            raise UnsupportedModel(
                f"{layer.name} takes {layer.inputs} numbers; what comes before it has {x.shape[-1]}"
            )
        x = linear(build, x, layer.name, layer.outputs, layer.bias, f"dense{index}")
        if layer.activation is not None:
            x = build.op(layer.activation, x, name=f"dense{index}_activation")
    return x


def linear(
    build: GraphBuilder, x: Value, prefix: str, outputs: int, bias: bool, name: str
) -> Value:
    """[*, I] -> [*, O] by the tensors `prefix`.weight [O, I] and .bias [O]."""
    inputs = x.shape[-1]
    assert isinstance(inputs, int)
    weights = {"weight": build.weight(f"{prefix}.weight", (outputs, inputs))}
    if bias:
        weights["bias"] = build.weight(f"{prefix}.bias", (outputs,))
    return build.op("linear", x, weights=weights, name=name)
