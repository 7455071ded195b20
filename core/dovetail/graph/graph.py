"""The model graph: what a model computes, with no word about where.

A Graph is an immutable, topologically ordered list of nodes over named values. It is made by a GraphBuilder
(`builder.py`) from op definitions (`ops.py`), checked by `verify.py`, printed by `dump.py` and rewritten by the
passes. It holds no numbers: weights are names with a shape and a storage form; a WeightSource has the numbers.

Axis letters, the same in every language and kernel:

    T  tokens in the step           R  rows (sequences) in the step     N  rows of hidden state that want an output
    Q  most new tokens of a row     M  blocks of a row                  B  blocks in the cache
    S  tokens per block             H  query heads                      K  key/value heads
    D  head width                   E  model width                      F  feed-forward width
    V  vocabulary                   X  experts                          L  layers
    P  rotary position planes       C  rows of a position table         G  R + 1
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .sharding import Sharding

Dim = int | str
"""A number, or an axis letter whose length is known only when a step runs (T, N, R, P, G)."""

DType = Literal["f32", "bf16", "f16", "i32", "cache"]
"""Type of a value; `cache` is the order between a cache write and the reads after it, and holds no numbers."""

Attribute = int | float | str | bool | None | tuple[int, ...] | tuple[float, ...]

COMPUTE_DTYPES: tuple[str, ...] = ("f32", "bf16", "f16")


@dataclass(frozen=True, slots=True)
class Value:
    """A named array that flows between nodes."""

    name: str
    shape: tuple[Dim, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class WeightForm:
    """How the numbers of a weight are stored, as planes.

    kind   dense         data [*shape] in `dtype`
           int8_channel  data i8 [O, I], scale f32 [O]; w = data * scale
           fp8_channel   data e4m3fn [O, I], finite, scale f32 [O]; w = data * scale
           int4_group    data u8 [O, I / 2], input 2j in the low four bits of byte j and 2j + 1 in the high ones,
                         scale f32 [O, I / group], zero u8 [O, I / group]; w = (data - zero) * scale
    dtype  f32, f16 or bf16 for dense; empty otherwise
    group  inputs that share a scale, for int4_group
    """

    kind: Literal["dense", "int8_channel", "fp8_channel", "int4_group"]
    dtype: str = ""
    group: int = 0

    def __str__(self) -> str:
        if self.kind == "dense":
            return self.dtype
        return f"int4g{self.group}" if self.kind == "int4_group" else self.kind.partition("_")[0]


F32 = WeightForm("dense", "f32")
F16 = WeightForm("dense", "f16")
BF16 = WeightForm("dense", "bf16")
INT8 = WeightForm("int8_channel")
FP8 = WeightForm("fp8_channel")
INT4 = WeightForm("int4_group", group=128)


@dataclass(frozen=True, slots=True)
class Weight:
    """A named weight of the graph.

    shape  [O, I] for matrices (outputs first, as checkpoints store them), [n] for vectors
    parts  the checkpoint's tensors whose rows, one after the other, make this weight
    """

    name: str
    shape: tuple[int, ...]
    form: WeightForm
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """One op on named values.

    inputs   names of values
    outputs  names of the values it makes
    weights  role in the op -> name of a weight of the graph
    layer    the cache layer that it reads or writes, for cache ops
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    layer: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "attributes", MappingProxyType(dict(self.attributes)))
        object.__setattr__(self, "weights", MappingProxyType(dict(self.weights)))


@dataclass(frozen=True, slots=True)
class CacheGroup:
    """Layers whose keys and values are alike and share one block table.

    layers       cache layers, in order; a node's `layer` is one of these
    kv_heads     K
    key_width    D of the keys
    value_width  D of the values
    window       positions a row attends to at most, None for all
    """

    name: str
    layers: tuple[int, ...]
    kv_heads: int
    key_width: int
    value_width: int
    window: int | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """A model, ready to be verified, rewritten and run.

    inputs     values the step's Batch provides: tokens [T], positions [P, T], outputs [N], and where the graph wants
               them row_starts [G] and the column token_types [T], all i32
    nodes      in an order in which every value is made before it is used
    values     every value by name, inputs included
    weights    every weight by name
    outputs    name of the output ("logits", "hidden") -> value
    cache      groups of cache layers; empty for a model without a cache
    chunkable  whether a sequence may be computed in pieces (decoders), or only whole (encoders)
    dtype      of the computation: f32, bf16 or f16
    sharding   how it is divided over the members of a mesh; None: it is for one device, or a member's own
    """

    name: str
    dtype: str
    inputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    values: Mapping[str, Value]
    weights: Mapping[str, Weight]
    outputs: Mapping[str, str]
    cache: tuple[CacheGroup, ...] = ()
    chunkable: bool = True
    sharding: Sharding | None = None

    def __post_init__(self) -> None:
        for name in ("values", "weights", "outputs"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def group_of(self, layer: int) -> int:
        """Index of the cache group that holds a layer; KeyError if none does."""
        for index, group in enumerate(self.cache):
            if layer in group.layers:
                return index
        raise KeyError(layer)

    def uses(self, value: str) -> Iterator[Node]:
        """The nodes that read a value."""
        return (node for node in self.nodes if value in node.inputs)

    def local(self, rank: int) -> Graph:
        """What one member of the mesh computes, for meshes that are a process per device.

        Its weights are the member's parts under their old names, its cache groups the member's heads, and its
        collectives meet those of the other members in the same order. GraphError without a sharding.
        """
        from .local import local_graph

        return local_graph(self, rank)
