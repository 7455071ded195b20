"""ModernBERT: norms before each block, rotary positions, gated feed-forward, local attention in most layers.

Source: Warner et al. 2024.
"""

from __future__ import annotations

from dataclasses import dataclass

from dovetail.errors import CheckpointError, UnsupportedModel
from dovetail.graph import Graph, Value

from .encoder import Encoder, EncoderGraph
from .facts import MAX_LENGTH
from .fields import FILE, Fields
from .heads import Head, linear
from .rope import Rope, powers

FULL, LOCAL = "full_attention", "sliding_attention"
THETAS = {FULL: ("global_rope_theta", 160_000.0), LOCAL: ("local_rope_theta", 10_000.0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModernBert(Encoder):
    """
    kinds              per layer, FULL or LOCAL
    ropes              of either kind
    reach              tokens to either side that a LOCAL layer sees
    *_bias             of norms, of attention's and the feed-forward's matrices, of the head's
    classifier_active  activation in the head
    """

    kinds: tuple[str, ...]
    ropes: dict[str, Rope]
    reach: int
    norm_bias: bool
    attention_bias: bool
    mlp_bias: bool
    classifier_bias: bool
    classifier_active: str

    def graph(self, head: Head, dtype: str) -> Graph:
        """Without columns."""
        return ModernBertGraph(self, head, dtype).build()


def read_modernbert(fields: Fields, common: Encoder, classifier_active: str) -> ModernBert:
    """Raises CheckpointError, UnsupportedModel."""
    return ModernBert(
        facts=common.facts,
        prefix=common.prefix,
        eps=common.eps,
        activation=common.activation,
        labels=common.labels,
        kinds=_kinds(fields, common.facts.layers),
        ropes={kind: _rope(fields, kind, common.facts.head_dim) for kind in THETAS},
        reach=fields.integer("local_attention", 1, MAX_LENGTH, 128) // 2,
        norm_bias=fields.flag("norm_bias"),
        attention_bias=fields.flag("attention_bias"),
        mlp_bias=fields.flag("mlp_bias"),
        classifier_bias=fields.flag("classifier_bias"),
        classifier_active=classifier_active,
    )


def _kinds(fields: Fields, layers: int) -> tuple[str, ...]:
    """`layer_types`, or every n-th layer full."""
    if not fields.has("layer_types"):
        every = fields.integer("global_attn_every_n_layers", 1, MAX_LENGTH, 3)
        return tuple(LOCAL if layer % every else FULL for layer in range(layers))
    kinds = tuple(fields.words("layer_types"))
    if len(kinds) != layers or set(kinds) - set(THETAS):
        raise CheckpointError(
            f"{FILE}: field layer_types is {kinds}; expected {layers} of {', '.join(THETAS)}"
        )
    return kinds


def _rope(fields: Fields, kind: str, width: int) -> Rope:
    """The rotation of a kind of layer; nothing but the plain one is published."""
    given = fields.inner("rope_parameters").inner(kind)
    if fields.values.get("rope_scaling") or given.word("rope_type", "default") != "default":
        raise UnsupportedModel(f"{FILE}: rope types other than default are not supported here")
    name, default = THETAS[kind]
    theta = given.number("rope_theta", 1.0, 1e18, fields.number(name, 1.0, 1e18, default))
    return Rope(tuple(powers(theta, width)))


class ModernBertGraph(EncoderGraph):
    """Builds the graph of one ModernBert."""

    def __init__(self, modern: ModernBert, head: Head, dtype: str) -> None:
        super().__init__(modern, head, dtype)
        self.modern = modern

    def embeddings(self) -> Value:
        x = self.words("embeddings.tok_embeddings")
        return self._norm(x, "embeddings.norm", "embeddings_norm")

    def layer(self, x: Value, layer: int) -> Value:
        prefix, modern, build = f"layers.{layer}", self.modern, self.build_on
        y = self._norm(x, f"{prefix}.attn_norm", "attention_norm") if layer else x
        x = self.plus(x, self._attention(y, layer, f"{prefix}.attn"), "attention_residual")
        y = self._norm(x, f"{prefix}.mlp_norm", "mlp_norm")
        inner, bias = self.facts.inner, modern.mlp_bias
        y = self.linear(y, f"{prefix}.mlp.Wi", 2 * inner, bias, "gate_up_proj")
        y = build.op("split_gated_activation", y, activation=modern.activation)
        y = self.linear(y, f"{prefix}.mlp.Wo", self.facts.hidden, bias, "down_proj")
        return self.plus(x, y, "mlp_residual")

    def _attention(self, x: Value, layer: int, prefix: str) -> Value:
        modern, facts = self.modern, self.facts
        width, kind = facts.heads * facts.head_dim, modern.kinds[layer]
        joined = self.linear(x, f"{prefix}.Wqkv", 3 * width, modern.attention_bias, "qkv_proj")
        parts = self.build_on.op_many("split", joined, sizes=(width,) * 3, name="parts")
        q, k, v = (self.heads(part, name) for part, name in zip(parts, "qkv", strict=True))
        q = self.rotated(q, modern.ropes[kind], "q_rope")
        k = self.rotated(k, modern.ropes[kind], "k_rope")
        y = self.attend(q, k, v, modern.reach if kind == LOCAL else None)
        return self.linear(y, f"{prefix}.Wo", facts.hidden, modern.attention_bias, "output_proj")

    def end(self, x: Value) -> Value:
        return self._norm(x, "final_norm", "norm")

    def _norm(self, x: Value, prefix: str, name: str) -> Value:
        return self.norm(x, prefix, name, self.modern.norm_bias)

    def classify(self, x: Value) -> Value:
        build, modern = self.build_on, self.modern
        x = linear(build, x, "head.dense", self.facts.hidden, modern.classifier_bias, "head")
        x = build.op("activation", x, activation=modern.classifier_active, name="head_activation")
        x = self.layer_norm(x, "head.norm", "head_norm", modern.norm_bias)
        return linear(build, x, "classifier", modern.labels, True, "scores")
