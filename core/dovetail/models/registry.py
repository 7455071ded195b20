"""Architectures by the name in config.json, each a few lines that turn its options into a Decoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

from dovetail.errors import UnsupportedModel
from dovetail.graph import Graph

from .decoder import Decoder
from .encoders import ENCODERS, build_encoder, encoder_facts, labels_of, score_pooling
from .facts import FAMILIES, ModelFacts, base_of, decoder_facts
from .fields import FILE, Fields
from .heads import Head, Pooling
from .options import (
    activation,
    effective,
    mistral_windows,
    no_windows,
    qwen_windows,
    refuse,
)
from .rope import read_rope

Reader = Callable[[Fields, ModelFacts], dict[str, Any]]
"""The fields of a Decoder in which its family differs from the others: windows and biases."""


def llama(fields: Fields, sizes: ModelFacts) -> dict[str, Any]:
    bias = fields.flag("attention_bias")
    return {
        "windows": no_windows(fields, sizes),
        "qkv_bias": bias,
        "output_bias": bias,
        "mlp_bias": fields.flag("mlp_bias"),
    }


def mistral(fields: Fields, sizes: ModelFacts) -> dict[str, Any]:
    refuse(fields, sizes.architecture, "attention_bias", "mlp_bias")
    return {"windows": mistral_windows(fields, sizes)}


def qwen2(fields: Fields, sizes: ModelFacts) -> dict[str, Any]:
    refuse(fields, sizes.architecture, "mlp_bias")
    return {"windows": qwen_windows(fields, sizes), "qkv_bias": True}


def qwen3(fields: Fields, sizes: ModelFacts) -> dict[str, Any]:
    refuse(fields, sizes.architecture, "mlp_bias")
    bias = fields.flag("attention_bias")
    return {
        "windows": qwen_windows(fields, sizes),
        "qkv_bias": bias,
        "output_bias": bias,
        "head_norms": True,
    }


ARCHITECTURES: Mapping[str, Reader] = MappingProxyType(
    {
        "LlamaForCausalLM": llama,
        "MistralForCausalLM": mistral,
        "Qwen2ForCausalLM": qwen2,
        "Qwen3ForCausalLM": qwen3,
    }
)


def facts(config: Mapping[str, Any]) -> ModelFacts:
    """The sizes in a config.json.

    Raises CheckpointError for a field that is missing, malformed or absurd, UnsupportedModel for an architecture or
    storage format that is not built.
    """
    fields = Fields(config)
    names = fields.words("architectures")
    for name in names:
        if name in ENCODERS:
            return encoder_facts(fields, name)
    if any(base_of(name) in FAMILIES for name in names):
        return decoder_facts(config)
    raise UnsupportedModel(
        f"{FILE}: architecture {', '.join(names) or '(none)'} is not supported; "
        f"supported: {', '.join((*FAMILIES, *ENCODERS))}"
    )


def task_of(config: Mapping[str, Any]) -> Literal["generate", "embed", "score"]:
    """What a model is for, by its architecture alone."""
    name = facts(config).architecture
    if name in ENCODERS:
        return ENCODERS[name].task
    if name.endswith("ForSequenceClassification"):
        return "score"
    return "generate" if name.endswith("ForCausalLM") else "embed"


def is_encoder(config: Mapping[str, Any]) -> bool:
    """Whether it sees whole sequences at once."""
    return facts(config).architecture in ENCODERS


def num_labels(config: Mapping[str, Any]) -> int:
    """Numbers of its classification head."""
    return labels_of(Fields(config))


def pooling_of_scores(config: Mapping[str, Any]) -> Pooling:
    """Where its classification head looks."""
    return score_pooling(Fields(config), facts(config).architecture)


def build(
    config: Mapping[str, Any],
    *,
    dtype: str,
    max_model_len: int | None = None,
    head: Head | None = None,
) -> Graph:
    """The graph of a config.json.

    dtype          of the computation: f32, bf16 or f16
    max_model_len  longest context that will be served; fixes the frequencies of rope type `dynamic` beyond the
                   model's own length, and drops windows that are at least as long
    head           None for the logits of the next token

    Weights are dense in `dtype`; `graph.with_forms` says how they are stored. Raises CheckpointError for a field that
    is missing, malformed or absurd, UnsupportedModel for an architecture or option that is not built.
    """
    sizes, fields = facts(config), Fields(config)
    if sizes.architecture in ENCODERS:
        if head is None:
            raise UnsupportedModel(
                f"{FILE}: {sizes.architecture} generates no text; serve it with --task embed or score"
            )
        return build_encoder(fields, sizes, head, dtype)
    if head is not None and head.pooling != "last":
        raise UnsupportedModel(
            f"pooling {head.pooling} is not supported for {sizes.architecture}, which is computed in "
            "chunks; supported: last"
        )
    varying = ARCHITECTURES[base_of(sizes.architecture)](fields, sizes)
    varying["windows"] = effective(varying["windows"], max_model_len)
    decoder = Decoder(
        facts=sizes,
        rope=read_rope(fields, sizes.head_dim, max_model_len),
        eps=fields.number("rms_norm_eps", 0.0, 1.0, 1e-6),
        activation=activation(fields),
        labels=labels_of(fields),
        **varying,
    )
    return decoder.graph(dtype, head)
