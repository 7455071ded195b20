"""Encoders by the name in config.json: their sizes, their options, and the head that they are served with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from dovetail.errors import UnsupportedModel
from dovetail.graph import Graph

from .bert import Bert, bert_context, read_bert
from .encoder import Encoder
from .facts import (
    MAX_HEADS,
    MAX_LAYERS,
    MAX_LENGTH,
    MAX_VOCABULARY,
    MAX_WIDTH,
    ModelFacts,
    head_width_of,
    refuse_formats,
    stored_dtype,
)
from .fields import FILE, Fields
from .heads import Head, Pooling
from .modernbert import ModernBert, read_modernbert
from .nomic_bert import NomicBert, published, read_nomic_bert
from .options import activation_of

MAX_LABELS = 1 << 16


@dataclass(frozen=True, slots=True)
class EncoderKind:
    """An architecture.

    prefix  of the encoder's tensors
    task    what it is served for
    """

    family: Literal["bert", "roberta", "nomic_bert", "modernbert"]
    prefix: str
    task: Literal["embed", "score"] = "embed"


def _kinds() -> dict[str, EncoderKind]:
    found = {"NomicBertModel": EncoderKind("nomic_bert", "")}
    for name, family, prefix in (
        ("Bert", "bert", "bert."),
        ("Roberta", "roberta", "roberta."),
        ("XLMRoberta", "roberta", "roberta."),
        ("ModernBert", "modernbert", "model."),
    ):
        found[f"{name}Model"] = EncoderKind(family, "")  # type: ignore[arg-type]
        found[f"{name}ForMaskedLM"] = EncoderKind(family, prefix)  # type: ignore[arg-type]
        found[f"{name}ForSequenceClassification"] = EncoderKind(family, prefix, "score")  # type: ignore[arg-type]
    return found


ENCODERS: Mapping[str, EncoderKind] = MappingProxyType(_kinds())


def encoder_facts(fields: Fields, architecture: str) -> ModelFacts:
    """Sizes of an encoder. Raises CheckpointError, UnsupportedModel."""
    refuse_formats(fields, causal=False)
    family = ENCODERS[architecture].family
    spelt = NOMIC_NAMES if family == "nomic_bert" and published(fields) else {}

    def integer(name: str, high: int, default: int | None = None) -> int:
        return fields.integer(spelt.get(name, name), 1, high, default)

    hidden, heads = integer("hidden_size", MAX_WIDTH), integer("num_attention_heads", MAX_HEADS)
    return ModelFacts(
        architecture=architecture,
        vocab_size=fields.integer("vocab_size", 1, MAX_VOCABULARY),
        max_position=_context(fields, family, spelt),
        hidden=hidden,
        inner=integer("intermediate_size", MAX_WIDTH, 4 * hidden if spelt else None),
        layers=integer("num_hidden_layers", MAX_LAYERS),
        heads=heads,
        kv_heads=heads,
        head_dim=head_width_of(fields, None, hidden, heads),
        tied=True,
        dtype=stored_dtype(fields),
    )


NOMIC_NAMES = {
    "hidden_size": "n_embd",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
    "intermediate_size": "n_inner",
    "max_position_embeddings": "n_positions",
    "hidden_act": "activation_function",
    "layer_norm_eps": "layer_norm_epsilon",
}
"""transformers' name of a field -> the published checkpoints'."""


def _context(fields: Fields, family: str, spelt: Mapping[str, str]) -> int:
    if family in ("bert", "roberta"):
        return bert_context(fields, family == "roberta")
    name = "max_position_embeddings"
    return fields.integer(spelt.get(name, name), 1, MAX_LENGTH, 8192)


def read_encoder(fields: Fields, sizes: ModelFacts) -> Bert | NomicBert | ModernBert:
    """The encoder of a configuration. Raises CheckpointError, UnsupportedModel."""
    kind = ENCODERS[sizes.architecture]
    modern = kind.family == "modernbert"
    spelt = NOMIC_NAMES if kind.family == "nomic_bert" and published(fields) else {}
    act = "hidden_activation" if modern else spelt.get("hidden_act", "hidden_act")
    eps = "norm_eps" if modern else spelt.get("layer_norm_eps", "layer_norm_eps")
    common = Encoder(
        facts=sizes,
        prefix=kind.prefix,
        eps=fields.number(eps, 0.0, 1.0, 1e-5 if modern else 1e-12),
        activation=activation_of(fields, act, "silu" if kind.family == "nomic_bert" else "gelu"),
        labels=labels_of(fields),
    )
    if modern:
        return read_modernbert(
            fields, common, activation_of(fields, "classifier_activation", "gelu")
        )
    if kind.family == "nomic_bert":
        return read_nomic_bert(fields, common)
    return read_bert(fields, common, kind.family == "roberta")


def labels_of(fields: Fields) -> int:
    """Numbers of the classification head: one per entry of id2label, two where nothing is said."""
    if fields.has("id2label"):
        return max(1, len(fields.inner("id2label").values))
    return fields.integer("num_labels", 1, MAX_LABELS, 2)


def score_pooling(fields: Fields, architecture: str) -> Pooling:
    """Where a classification head looks."""
    if architecture in ENCODERS and ENCODERS[architecture].family == "modernbert":
        found = fields.word("classifier_pooling", "cls")
        if found not in ("cls", "mean"):
            raise UnsupportedModel(
                f"{FILE}: field classifier_pooling is {found!r}; supported: cls, mean"
            )
        return "mean" if found == "mean" else "cls"
    return "cls" if architecture in ENCODERS else "last"


def build_encoder(fields: Fields, sizes: ModelFacts, head: Head, dtype: str) -> Graph:
    """The graph of an encoder with its head."""
    return read_encoder(fields, sizes).graph(head, dtype)
