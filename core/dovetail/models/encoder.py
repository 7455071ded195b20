"""What graphs of encoders share: embeddings, whole attention, norms and the head behind them.

An encoder sees whole sequences and keeps no cache. Tensor names are those of Hugging Face checkpoints.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from dovetail.graph import Graph, GraphBuilder, Value

from .facts import ModelFacts
from .heads import Head, dense, linear, pool
from .rope import Rope


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """What the families of encoders have in common.

    prefix      of every tensor's name but the head's
    eps         of every norm
    activation  the graph's name of it
    labels      numbers of a classification head
    """

    facts: ModelFacts
    prefix: str
    eps: float
    activation: str
    labels: int = 1


class EncoderGraph(ABC):
    """Builds one graph; subclasses say what a layer is.

    tokens [T], positions [1, T], row_starts [G], outputs [N] -> "hidden" [N, E] or "scores" [N, labels]
    """

    def __init__(self, encoder: Encoder, head: Head, dtype: str) -> None:
        self.facts, self.head, self._encoder = encoder.facts, head, encoder
        self.build_on = GraphBuilder(encoder.facts.architecture, dtype, chunkable=False)
        self.tokens = self.build_on.input("tokens", ("T",))
        self.positions = self.build_on.input("positions", (1, "T"))
        self.rows = self.build_on.input("outputs", ("N",))
        self.row_starts = self.build_on.input("row_starts", ("G",))

    def build(self) -> Graph:
        """The graph, verified."""
        x = self.embeddings()
        for layer in range(self.facts.layers):
            with self.build_on.scope(f"layers.{layer}"):
                x = self.layer(x, layer)
        x = pool(self.build_on, self.end(x), self.rows, self.row_starts, self.head.pooling)
        if self.head.task == "embed":
            self.build_on.output("hidden", dense(self.build_on, x, self.head.dense))
        else:
            self.build_on.output("scores", self.classify(x))
        return self.build_on.build()

    @abstractmethod
    def embeddings(self) -> Value:
        """[T, E] of the tokens."""

    @abstractmethod
    def layer(self, x: Value, layer: int) -> Value:
        """[T, E] -> [T, E]."""

    @abstractmethod
    def classify(self, x: Value) -> Value:
        """[N, E] of pooled states -> [N, labels]."""

    def end(self, x: Value) -> Value:
        """What comes after the last layer."""
        return x

    # ------------------------------------------------------------------------------------------------ pieces

    def words(self, name: str) -> Value:
        """Token embeddings [T, E]."""
        shape = (self.facts.vocab_size, self.facts.hidden)
        table = self.build_on.weight(f"{self._encoder.prefix}{name}.weight", shape)
        return self.build_on.op("embed", self.tokens, weights={"table": table}, name="words")

    def with_types(self, x: Value, name: str, count: int) -> Value:
        """Plus embeddings of the segments that tokens belong to."""
        build = self.build_on
        types = build.input("token_types", ("T",))
        shape = (count, self.facts.hidden)
        table = build.weight(f"{self._encoder.prefix}{name}.weight", shape)
        y = build.op("embed", types, weights={"table": table}, name="types")
        return build.op("add", x, y, name="typed")

    def linear(self, x: Value, prefix: str, outputs: int, bias: bool, name: str) -> Value:
        """By tensors of the encoder itself."""
        return linear(self.build_on, x, f"{self._encoder.prefix}{prefix}", outputs, bias, name)

    def norm(self, x: Value, prefix: str, name: str, bias: bool = True) -> Value:
        """Layer norm by tensors of the encoder itself."""
        return self.layer_norm(x, f"{self._encoder.prefix}{prefix}", name, bias)

    def layer_norm(self, x: Value, prefix: str, name: str, bias: bool = True) -> Value:
        """Layer norm by tensors of this name."""
        build, width = self.build_on, self.facts.hidden
        weights = {"weight": build.weight(f"{prefix}.weight", (width,))}
        if bias:
            weights["bias"] = build.weight(f"{prefix}.bias", (width,))
        return build.op("layer_norm", x, weights=weights, eps=self._encoder.eps, name=name)

    def heads(self, x: Value, name: str) -> Value:
        """[T, H * D] -> [T, H, D]."""
        return self.build_on.op(
            "reshape", x, shape=(self.facts.heads, self.facts.head_dim), name=name
        )

    def rotated(self, x: Value, rope: Rope, name: str, interleaved: bool = False) -> Value:
        """Rotary positions on [T, H, D]."""
        return self.build_on.op(
            "rope",
            x,
            self.positions,
            frequencies=rope.frequencies,
            factor=rope.factor,
            interleaved=interleaved,
            name=name,
        )

    def attend(self, q: Value, k: Value, v: Value, reach: int | None = None) -> Value:
        """Whole attention of heads [T, H, D], joined again [T, H * D]."""
        facts, build = self.facts, self.build_on
        scale = facts.head_dim**-0.5
        y = build.op("whole_attention", q, k, v, self.row_starts, scale=scale, reach=reach)
        return build.op("reshape", y, shape=(facts.heads * facts.head_dim,), name="joined")

    def active(self, x: Value, name: str = "activation") -> Value:
        """The family's activation."""
        return self.build_on.op("activation", x, activation=self._encoder.activation, name=name)

    def plus(self, x: Value, y: Value, name: str) -> Value:
        return self.build_on.op("add", y, x, name=name)
