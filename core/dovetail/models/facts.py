"""Sizes and options that config.json states, checked once; every builder starts from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dovetail.errors import CheckpointError, UnsupportedModel

from .fields import FILE, Fields

MAX_LAYERS = 1024
MAX_HEADS = 4096
MAX_WIDTH = 1 << 20
MAX_VOCABULARY = 1 << 24
MAX_LENGTH = 2**31 - 1

STORED_DTYPES = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """An architecture, and what its configuration means where a field is absent: Hugging Face's defaults.

    kv_heads     K; None: as many as query heads
    head_width   D; None: E / H
    """

    architecture: str
    kv_heads: int | None = None
    head_width: int | None = None


FAMILIES = {
    family.architecture: family
    for family in (
        Family(architecture="LlamaForCausalLM"),
        Family(architecture="MistralForCausalLM", kv_heads=8),
        Family(architecture="Qwen2ForCausalLM", kv_heads=32),
        Family(architecture="Qwen3ForCausalLM", kv_heads=32, head_width=128),
    )
}


ENDINGS = ("ForCausalLM", "Model", "ForSequenceClassification")
"""What is built of a decoder: with its language head, bare, or with a classification head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """The sizes of a model.

    max_position  tokens of context that config.json promises, scaled by rope where it says so
    hidden        E
    inner         F
    heads         H
    kv_heads      K, divides H
    head_dim      D
    tied          the output matrix is the embedding table
    dtype         of the stored weights, f32, bf16 or f16, as config.json names it; None where it does not
    """

    architecture: str
    vocab_size: int
    max_position: int
    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    tied: bool
    dtype: str | None


def decoder_facts(config: Mapping[str, Any]) -> ModelFacts:
    """The sizes in a decoder's config.json.

    Raises CheckpointError for a field that is missing, malformed or absurd, UnsupportedModel for an architecture or
    storage format that is not built.
    """
    fields = Fields(config)
    family = family_of(fields)
    refuse_formats(fields)
    hidden = fields.integer("hidden_size", 1, MAX_WIDTH)
    heads = fields.integer("num_attention_heads", 1, MAX_HEADS)
    return ModelFacts(
        architecture=family.architecture,
        vocab_size=fields.integer("vocab_size", 1, MAX_VOCABULARY),
        max_position=fields.integer("max_position_embeddings", 1, MAX_LENGTH),
        hidden=hidden,
        inner=fields.integer("intermediate_size", 1, MAX_WIDTH),
        layers=fields.integer("num_hidden_layers", 1, MAX_LAYERS),
        heads=heads,
        kv_heads=kv_heads_of(fields, family, heads),
        head_dim=head_width_of(fields, family, hidden, heads),
        tied=fields.flag("tie_word_embeddings"),
        dtype=stored_dtype(fields),
    )


def family_of(fields: Fields) -> Family:
    """The first supported architecture that the file names."""
    names = fields.words("architectures")
    for name in names:
        if base_of(name) in FAMILIES:
            return replace(FAMILIES[base_of(name)], architecture=name)
    raise UnsupportedModel(
        f"{FILE}: architecture {', '.join(names) or '(none)'} is not supported; "
        f"supported: {', '.join(FAMILIES)}"
    )


def base_of(architecture: str) -> str:
    """The name with a language head, for a decoder under any of its names."""
    for ending in ENDINGS:
        if architecture.endswith(ending):
            return architecture.removesuffix(ending) + ENDINGS[0]
    return architecture


def refuse_formats(fields: Fields, *, causal: bool = True) -> None:
    """Refuse what would have to be read or computed in a way that is not built."""
    for name in ("quantization_config", "compression_config"):
        if fields.has(name):
            method = fields.inner(name).word("quant_method", "unnamed")
            raise UnsupportedModel(
                f"{FILE}: field {name} (method {method!r}) is not supported; use the unquantised "
                "checkpoint, and --quantization int8, fp8 or int4 to quantise it while loading"
            )
    if fields.has("per_layer_config"):
        raise UnsupportedModel(f"{FILE}: field per_layer_config is not supported; expected none")
    if causal and not fields.flag("is_causal", True):
        raise UnsupportedModel(
            f"{FILE}: field is_causal is False; only causal models are supported"
        )


def kv_heads_of(fields: Fields, family: Family, heads: int) -> int:
    """K: null means H, an absent field the family's default."""
    absent = "num_key_value_heads" not in fields.values
    default = family.kv_heads if absent and family.kv_heads else heads
    kv_heads = fields.integer("num_key_value_heads", 1, MAX_HEADS, default)
    if heads % kv_heads:
        raise CheckpointError(
            f"{FILE}: num_attention_heads is {heads} and num_key_value_heads {kv_heads}; "
            "expected a multiple"
        )
    return kv_heads


def head_width_of(fields: Fields, family: Family | None, hidden: int, heads: int) -> int:
    """D: as given, the family's default, or E / H."""
    default = family.head_width if family else None
    if fields.has("head_dim") or default:
        return fields.integer("head_dim", 1, MAX_WIDTH, default)
    if hidden % heads:
        raise CheckpointError(
            f"{FILE}: hidden_size is {hidden} and num_attention_heads {heads}; expected a multiple, "
            "or a field head_dim"
        )
    return hidden // heads


def stored_dtype(fields: Fields) -> str | None:
    """The dtype that the file says its weights have; the weights themselves have the last word."""
    name = fields.word("dtype", fields.word("torch_dtype", ""))
    return STORED_DTYPES.get(name.removeprefix("torch."))
