"""The decoder that Llama, Mistral, Qwen2 and Qwen3 share, written as a forward pass.

Weight names are those of Hugging Face checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass

from dovetail.graph import CacheGroup, Graph, GraphBuilder, Value, Weight

from .facts import ModelFacts
from .heads import Head, dense, linear
from .options import Windows, distinct
from .rope import Rope


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoder:
    """What a family of pre-norm decoders varies in.

    eps          of every norm
    activation   the graph's name of it
    windows      one per layer, None sees everything
    qkv_bias     on the projections into heads
    output_bias  on the projection out of heads
    mlp_bias     on gate, up and down
    head_norms   an RMS norm over D of every query and key head before rope
    labels       numbers of a classification head
    """

    facts: ModelFacts
    rope: Rope
    eps: float
    activation: str
    windows: Windows
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    head_norms: bool = False
    labels: int = 1

    def graph(self, dtype: str, head: Head | None = None) -> Graph:
        """tokens [T], positions [1, T], outputs [N] -> "logits" [N, V], or what the head makes of a last token."""
        return DecoderGraph(self, dtype, head).build()


class DecoderGraph:
    """Builds the graph of one Decoder."""

    def __init__(self, decoder: Decoder, dtype: str, head: Head | None) -> None:
        self.decoder = decoder
        self.head = head
        self.facts = decoder.facts
        self.build_on = GraphBuilder(decoder.facts.architecture, dtype)
        self.tokens = self.build_on.input("tokens", ("T",))
        self.positions = self.build_on.input("positions", (1, "T"))
        self.rows = self.build_on.input("outputs", ("N",))

    def build(self) -> Graph:
        facts, build = self.facts, self.build_on
        self._cache_groups()
        table = build.weight("model.embed_tokens.weight", (facts.vocab_size, facts.hidden))
        x = build.op("embed", self.tokens, weights={"table": table})
        for layer in range(facts.layers):
            with build.scope(f"layers.{layer}"):
                x = self._layer(x, layer)
        x = build.op("take_rows", x, self.rows)
        self._end(self._norm(x, "model.norm", "norm"), table)
        return build.build()

    def _end(self, x: Value, table: Weight) -> None:
        build, head = self.build_on, self.head
        if head is None:
            matrix = table if self.facts.tied else build.weight("lm_head.weight", table.shape)
            build.output("logits", build.op("linear", x, weights={"weight": matrix}, name="logits"))
        elif head.task == "embed":
            build.output("hidden", dense(build, x, head.dense))
        else:
            build.output("scores", linear(build, x, "score", self.decoder.labels, False, "scores"))

    def _cache_groups(self) -> None:
        windows = self.decoder.windows
        for window in distinct(windows):
            layers = tuple(layer for layer, other in enumerate(windows) if other == window)
            name = "full" if window is None else f"window{window}"
            width = self.facts.head_dim
            self.build_on.cache_group(
                CacheGroup(name, layers, self.facts.kv_heads, width, width, window)
            )

    def _layer(self, x: Value, layer: int) -> Value:
        prefix, build = f"model.layers.{layer}", self.build_on
        y = self._norm(x, f"{prefix}.input_layernorm", "attention_norm")
        y = self._attention(y, layer, f"{prefix}.self_attn")
        x = build.op("add", y, x, name="attention_residual")
        y = self._norm(x, f"{prefix}.post_attention_layernorm", "mlp_norm")
        y = self._mlp(y, f"{prefix}.mlp")
        return build.op("add", y, x, name="mlp_residual")

    def _attention(self, x: Value, layer: int, prefix: str) -> Value:
        facts, decoder, build = self.facts, self.decoder, self.build_on
        q = self._heads(x, f"{prefix}.q_proj", facts.heads, "q")
        k = self._heads(x, f"{prefix}.k_proj", facts.kv_heads, "k")
        v = self._heads(x, f"{prefix}.v_proj", facts.kv_heads, "v")
        if decoder.head_norms:
            q = self._norm(q, f"{prefix}.q_norm", "q_norm")
            k = self._norm(k, f"{prefix}.k_norm", "k_norm")
        q, k = self._rotated(q, "q_rope"), self._rotated(k, "k_rope")
        written = build.op("kv_write", k, v, layer=layer)
        y = build.op(
            "attention",
            q,
            written,
            layer=layer,
            scale=facts.head_dim**-0.5,
            kv_heads=facts.kv_heads,
            value_width=facts.head_dim,
            window=decoder.windows[layer],
        )
        y = build.op("reshape", y, shape=(facts.heads * facts.head_dim,), name="joined")
        return self._linear(y, f"{prefix}.o_proj", facts.hidden, decoder.output_bias, "o_proj")

    def _mlp(self, x: Value, prefix: str) -> Value:
        inner, bias = self.facts.inner, self.decoder.mlp_bias
        gate = self._linear(x, f"{prefix}.gate_proj", inner, bias, "gate_proj")
        up = self._linear(x, f"{prefix}.up_proj", inner, bias, "up_proj")
        y = self.build_on.op("gated_activation", gate, up, activation=self.decoder.activation)
        return self._linear(y, f"{prefix}.down_proj", self.facts.hidden, bias, "down_proj")

    def _heads(self, x: Value, prefix: str, heads: int, name: str) -> Value:
        width = self.facts.head_dim
        y = self._linear(x, prefix, heads * width, self.decoder.qkv_bias, f"{name}_proj")
        return self.build_on.op("reshape", y, shape=(heads, width), name=name)

    def _rotated(self, x: Value, name: str) -> Value:
        rope = self.decoder.rope
        return self.build_on.op(
            "rope",
            x,
            self.positions,
            frequencies=rope.frequencies,
            factor=rope.factor,
            name=name,
        )

    def _linear(self, x: Value, prefix: str, outputs: int, bias: bool, name: str) -> Value:
        inputs = x.shape[-1]
        assert isinstance(inputs, int)
        weights: dict[str, Weight] = {
            "weight": self.build_on.weight(f"{prefix}.weight", (outputs, inputs))
        }
        if bias:
            weights["bias"] = self.build_on.weight(f"{prefix}.bias", (outputs,))
        return self.build_on.op("linear", x, weights=weights, name=name)

    def _norm(self, x: Value, prefix: str, name: str) -> Value:
        width = x.shape[-1]
        assert isinstance(width, int)
        weight = self.build_on.weight(f"{prefix}.weight", (width,))
        eps = self.decoder.eps
        return self.build_on.op("rms_norm", x, weights={"weight": weight}, eps=eps, name=name)
