"""BERT, RoBERTa and XLM-RoBERTa: learned positions, norms after each sum, and their classification heads.

Source: Devlin et al. 2019; Liu et al. 2019 (RoBERTa); Conneau et al. 2020 (XLM-R).
"""

from __future__ import annotations

from dataclasses import dataclass

from dovetail.errors import UnsupportedModel
from dovetail.graph import Graph, Value

from .encoder import Encoder, EncoderGraph
from .facts import MAX_LENGTH, MAX_VOCABULARY
from .fields import FILE, Fields
from .heads import Head, linear
from .options import refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class Bert(Encoder):
    """
    positions  rows of the position table
    first      the row of the first token; RoBERTa leaves out those up to the padding id
    types      rows of the table of token types
    roberta    whether the classification head is RoBERTa's, else BERT's
    """

    positions: int
    first: int
    types: int
    roberta: bool

    def graph(self, head: Head, dtype: str) -> Graph:
        """With the column token_types [T]."""
        return BertGraph(self, head, dtype).build()


def read_bert(fields: Fields, common: Encoder, roberta: bool) -> Bert:
    """Raises CheckpointError, UnsupportedModel."""
    kind = fields.word("position_embedding_type", "absolute")
    if kind != "absolute":
        raise UnsupportedModel(
            f"{FILE}: field position_embedding_type is {kind!r}; only absolute is supported"
        )
    refuse(fields, common.facts.architecture, "is_decoder", "add_cross_attention")
    first = fields.integer("pad_token_id", 0, MAX_VOCABULARY, 1) + 1 if roberta else 0
    return Bert(
        facts=common.facts,
        prefix=common.prefix,
        eps=common.eps,
        activation=common.activation,
        labels=common.labels,
        positions=fields.integer("max_position_embeddings", first + 1, MAX_LENGTH, 512),
        first=first,
        types=fields.integer("type_vocab_size", 1, MAX_VOCABULARY, 2),
        roberta=roberta,
    )


def bert_context(fields: Fields, roberta: bool) -> int:
    """Tokens of the longest sequence."""
    first = fields.integer("pad_token_id", 0, MAX_VOCABULARY, 1) + 1 if roberta else 0
    return fields.integer("max_position_embeddings", first + 1, MAX_LENGTH, 512) - first


class BertGraph(EncoderGraph):
    """Builds the graph of one Bert."""

    def __init__(self, bert: Bert, head: Head, dtype: str) -> None:
        super().__init__(bert, head, dtype)
        self.bert = bert

    def embeddings(self) -> Value:
        build, bert = self.build_on, self.bert
        name = f"{bert.prefix}embeddings.position_embeddings.weight"
        table = build.weight(name, (bert.positions, self.facts.hidden))
        x = self.words("embeddings.word_embeddings")
        x = self.with_types(x, "embeddings.token_type_embeddings", bert.types)
        places = build.op(
            "embed_positions",
            self.positions,
            weights={"table": table},
            offset=bert.first,
            name="places",
        )
        return self.norm(self.plus(x, places, "placed"), "embeddings.LayerNorm", "embeddings_norm")

    def layer(self, x: Value, layer: int) -> Value:
        prefix, hidden = f"encoder.layer.{layer}", self.facts.hidden
        width = self.facts.heads * self.facts.head_dim
        q, k, v = (
            self.heads(
                self.linear(x, f"{prefix}.attention.self.{name}", width, True, f"{name}_proj"),
                name,
            )
            for name in ("query", "key", "value")
        )
        y = self.attend(q, k, v)
        y = self.linear(y, f"{prefix}.attention.output.dense", hidden, True, "output_proj")
        x = self.plus(x, y, "attention_residual")
        x = self.norm(x, f"{prefix}.attention.output.LayerNorm", "attention_norm")
        y = self.linear(x, f"{prefix}.intermediate.dense", self.facts.inner, True, "up_proj")
        y = self.linear(self.active(y), f"{prefix}.output.dense", hidden, True, "down_proj")
        x = self.plus(x, y, "mlp_residual")
        return self.norm(x, f"{prefix}.output.LayerNorm", "mlp_norm")

    def classify(self, x: Value) -> Value:
        build, bert, hidden = self.build_on, self.bert, self.facts.hidden
        first = "classifier.dense" if bert.roberta else f"{bert.prefix}pooler.dense"
        last = "classifier.out_proj" if bert.roberta else "classifier"
        x = build.op("tanh", linear(build, x, first, hidden, True, "head"), name="head_tanh")
        return linear(build, x, last, bert.labels, True, "scores")
