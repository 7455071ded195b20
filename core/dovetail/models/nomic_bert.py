"""Nomic BERT: BERT's layers with rotary positions, a gated feed-forward and few biases.

The configuration has two spellings, the published checkpoints' (n_embd, n_head) and transformers' own; tensors are named
as published, and weights/naming.py knows the other names.
Source: Nussbaum et al. 2024.
"""

from __future__ import annotations

from dataclasses import dataclass

from dovetail.errors import UnsupportedModel
from dovetail.graph import Graph, Value

from .encoder import Encoder, EncoderGraph
from .facts import MAX_VOCABULARY
from .fields import FILE, Fields
from .heads import Head
from .options import refuse
from .rope import Rope, powers


@dataclass(frozen=True, slots=True, kw_only=True)
class NomicBert(Encoder):
    """
    types  rows of the table of token types
    """

    rope: Rope
    interleaved: bool
    types: int
    qkv_bias: bool
    output_bias: bool
    up_bias: bool
    down_bias: bool

    def graph(self, head: Head, dtype: str) -> Graph:
        """With the column token_types [T]."""
        return NomicBertGraph(self, head, dtype).build()


def published(fields: Fields) -> bool:
    """Whether a configuration is spelt as in the published checkpoints."""
    return fields.has("n_embd")


def read_nomic_bert(fields: Fields, common: Encoder) -> NomicBert:
    """Raises CheckpointError, UnsupportedModel for options that no published model has."""
    bias = dict.fromkeys(("qkv", "output", "up", "down"), False)
    theta, interleaved = 1000.0, False
    if published(fields):
        refuse(fields, common.facts.architecture, "prenorm", "parallel_block", "use_rms_norm")
        refuse(fields, common.facts.architecture, "rotary_scaling_factor", "num_experts")
        for name, wanted in (("rotary_emb_fraction", 1.0), ("rotary_emb_scale_base", 0.0)):
            if fields.number(name, 0.0, 1e9, wanted) != wanted:
                raise UnsupportedModel(
                    f"{FILE}: field {name} is {fields.values[name]}; only {wanted:g} is supported"
                )
        attention = fields.flag("qkv_proj_bias", True)
        bias = {
            "qkv": attention,
            "output": attention,
            "up": fields.flag("mlp_fc1_bias", True),
            "down": fields.flag("mlp_fc2_bias", True),
        }
        theta = fields.number("rotary_emb_base", 1.0, 1e18, 10000.0)
        interleaved = fields.flag("rotary_emb_interleaved")
    else:
        rope = fields.inner("rope_parameters")
        if (kind := rope.word("rope_type", "default")) != "default":
            raise UnsupportedModel(f"{FILE}: rope type {kind!r} is not supported; only default is")
        theta = rope.number("rope_theta", 1.0, 1e18, theta)
    return NomicBert(
        facts=common.facts,
        prefix=common.prefix,
        eps=common.eps,
        activation=common.activation,
        labels=common.labels,
        rope=Rope(tuple(powers(theta, common.facts.head_dim))),
        interleaved=interleaved,
        types=fields.integer("type_vocab_size", 0, MAX_VOCABULARY, 2),
        qkv_bias=bias["qkv"],
        output_bias=bias["output"],
        up_bias=bias["up"],
        down_bias=bias["down"],
    )


class NomicBertGraph(EncoderGraph):
    """Builds the graph of one NomicBert."""

    def __init__(self, nomic: NomicBert, head: Head, dtype: str) -> None:
        super().__init__(nomic, head, dtype)
        self.nomic = nomic

    def embeddings(self) -> Value:
        x = self.words("embeddings.word_embeddings")
        if self.nomic.types:
            x = self.with_types(x, "embeddings.token_type_embeddings", self.nomic.types)
        return self.norm(x, "emb_ln", "embeddings_norm")

    def layer(self, x: Value, layer: int) -> Value:
        nomic, hidden = self.nomic, self.facts.hidden
        prefix = f"encoder.layers.{layer}"
        q, k, v = self._heads(x, prefix)
        q = self.rotated(q, nomic.rope, "q_rope", nomic.interleaved)
        k = self.rotated(k, nomic.rope, "k_rope", nomic.interleaved)
        y = self.attend(q, k, v)
        y = self.linear(y, f"{prefix}.attn.out_proj", hidden, nomic.output_bias, "output_proj")
        x = self.plus(x, y, "attention_residual")
        x = self.norm(x, f"{prefix}.norm1", "attention_norm")
        inner = self.facts.inner
        gate = self.linear(x, f"{prefix}.mlp.fc12", inner, nomic.up_bias, "gate_proj")
        up = self.linear(x, f"{prefix}.mlp.fc11", inner, nomic.up_bias, "up_proj")
        y = self.build_on.op("gated_activation", gate, up, activation=nomic.activation)
        y = self.linear(y, f"{prefix}.mlp.fc2", hidden, nomic.down_bias, "down_proj")
        x = self.plus(x, y, "mlp_residual")
        return self.norm(x, f"{prefix}.norm2", "mlp_norm")

    def _heads(self, x: Value, prefix: str) -> tuple[Value, Value, Value]:
        """q, k and v [T, H, D]."""
        width = self.facts.heads * self.facts.head_dim
        joined = self.linear(x, f"{prefix}.attn.Wqkv", 3 * width, self.nomic.qkv_bias, "qkv_proj")
        parts = self.build_on.op_many("split", joined, sizes=(width,) * 3, name="parts")
        q, k, v = (self.heads(part, name) for part, name in zip(parts, "qkv", strict=True))
        return q, k, v

    def classify(self, x: Value) -> Value:
        raise UnsupportedModel(
            f"{self.facts.architecture} has no classification head here; serve it for embeddings"
        )
