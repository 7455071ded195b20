"""Architectures by the name in config.json, each a few lines that turn its options into a Decoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from dovetail.graph import Graph

from .decoder import Decoder
from .facts import ModelFacts, facts
from .fields import Fields
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


def build(config: Mapping[str, Any], *, dtype: str, max_model_len: int | None = None) -> Graph:
    """The graph of a config.json.

    dtype          of the computation: f32, bf16 or f16
    max_model_len  longest context that will be served; fixes the frequencies of rope type `dynamic` beyond the
                   model's own length, and drops windows that are at least as long

    Weights are dense in `dtype`; `graph.with_forms` says how they are stored. Raises CheckpointError for a field that
    is missing, malformed or absurd, UnsupportedModel for an architecture or option that is not built.
    """
    sizes = facts(config)
    fields = Fields(config)
    varying = ARCHITECTURES[sizes.architecture](fields, sizes)
    varying["windows"] = effective(varying["windows"], max_model_len)
    decoder = Decoder(
        facts=sizes,
        rope=read_rope(fields, sizes.head_dim, max_model_len),
        eps=fields.number("rms_norm_eps", 0.0, 1.0, 1e-6),
        activation=activation(fields),
        **varying,
    )
    return decoder.graph(dtype)
