"""Graphs of every architecture and option: the weights of transformers, and its windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from dovetail.errors import CheckpointError, UnsupportedModel
from dovetail.graph import CacheGroup, Graph, verify
from dovetail.models import ARCHITECTURES, build, facts
from dovetail.models.facts import FAMILIES
from transformers import AutoConfig, AutoModelForCausalLM

Config = Callable[..., dict[str, Any]]
MODEL_TYPES = {name: name.removesuffix("ForCausalLM").lower() for name in ARCHITECTURES}


def their_weights(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a transformers model; tied weights once."""
    kind = MODEL_TYPES[config["architectures"][0]]
    if config["num_key_value_heads"] is None:  # which only some of their classes take
        config = {**config, "num_key_value_heads": config["num_attention_heads"]}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
            AutoConfig.for_model(kind, **config)
        )
    return {name: tuple(weight.shape) for name, weight in model.named_parameters()}


def windows(graph: Graph) -> list[Any]:
    return [node.attributes["window"] for node in graph.nodes if node.op == "attention"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tie_word_embeddings": True},
        {"attention_bias": True, "mlp_bias": True},
        {"head_dim": 48},
        {"num_key_value_heads": 4},
        {"num_key_value_heads": 1, "head_dim": 10},
        {"num_key_value_heads": None},
        {"hidden_act": "gelu_new"},
    ],
    ids=str,
)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_weights_are_those_of_transformers(
    config: Config, architecture: str, options: dict[str, Any]
) -> None:
    if architecture in ("MistralForCausalLM", "Qwen2ForCausalLM"):
        options = {name: value for name, value in options.items() if "bias" not in name}
    if architecture == "Qwen3ForCausalLM":
        options = {name: value for name, value in options.items() if name != "mlp_bias"}
    fields = config(architecture, **options)
    graph = build(fields, dtype="bf16")
    ours = {name: weight.shape for name, weight in graph.weights.items()}
    assert ours == their_weights(fields)
    assert all(weight.parts == (name,) for name, weight in graph.weights.items())
    assert {str(weight.form) for weight in graph.weights.values()} == {"bf16"}
    assert graph.outputs == {"logits": "logits"}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_facts_are_the_sizes_of_transformers(config: Config, architecture: str) -> None:
    absent = {"num_key_value_heads": ..., "num_attention_heads": 32, "hidden_size": 256}
    for changes in ({}, absent):
        fields = config(architecture, **changes)
        theirs = AutoConfig.for_model(MODEL_TYPES[architecture], **fields)
        sizes = facts(fields)
        assert sizes.kv_heads == theirs.num_key_value_heads
        width = getattr(theirs, "head_dim", theirs.hidden_size // theirs.num_attention_heads)
        assert sizes.head_dim == width
        assert sizes.max_position == theirs.max_position_embeddings == 512
        assert sizes.tied == theirs.tie_word_embeddings


@pytest.mark.parametrize(
    ("field", "name", "dtype"),
    [("dtype", "bfloat16", "bf16"), ("torch_dtype", "float16", "f16"), ("dtype", "float8", None)],
)
def test_facts_know_the_stored_dtype(
    config: Config, field: str, name: str, dtype: str | None
) -> None:
    assert facts(config(**{field: name})).dtype == dtype


# ------------------------------------------------------------------------------------------------ windows


def test_mistral_has_one_window_for_all_layers(config: Config) -> None:
    graph = build(config("MistralForCausalLM", sliding_window=7), dtype="f32")
    assert windows(graph) == [7, 7, 7]
    assert graph.cache == (CacheGroup("window7", (0, 1, 2), 2, 16, 16, 7),)
    assert (
        windows(build(config("MistralForCausalLM", sliding_window=...), dtype="f32")) == [4096] * 3
    )
    assert windows(build(config("MistralForCausalLM"), dtype="f32")) == [None] * 3


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_sliding_window": True},
        {"use_sliding_window": True, "sliding_window": 9},
        {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1},
        {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 0},
        {"use_sliding_window": True, "sliding_window": None, "max_window_layers": 0},
        {"use_sliding_window": True, "sliding_window": ..., "max_window_layers": 2},
        {"use_sliding_window": False, "sliding_window": 9, "max_window_layers": 0},
        {
            "use_sliding_window": True,
            "sliding_window": 9,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        },
        {"layer_types": ["full_attention"] * 3},
    ],
    ids=str,
)
@pytest.mark.parametrize("architecture", ["Qwen2ForCausalLM", "Qwen3ForCausalLM"])
def test_qwen_windows_are_those_of_transformers(
    config: Config, architecture: str, options: dict[str, Any]
) -> None:
    fields = config(architecture, **options)
    theirs = AutoConfig.for_model(MODEL_TYPES[architecture], **fields)
    expected = [
        theirs.sliding_window if kind == "sliding_attention" else None
        for kind in theirs.layer_types
    ]
    graph = build(fields, dtype="f32")
    assert windows(graph) == expected
    assert {group.window for group in graph.cache} == set(expected)
    assert sorted(layer for group in graph.cache for layer in group.layers) == [0, 1, 2]


def test_a_window_as_long_as_any_sequence_is_none(config: Config) -> None:
    fields = config("MistralForCausalLM", sliding_window=32)
    assert windows(build(fields, dtype="f32", max_model_len=33)) == [32] * 3
    assert windows(build(fields, dtype="f32", max_model_len=32)) == [None] * 3


# ----------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("architecture", "changes", "message"),
    [
        (
            "GPT2LMHeadModel",
            {},
            "GPT2LMHeadModel is not supported; supported: LlamaForCausalLM, Mistral",
        ),
        ("FalconModel", {}, "FalconModel is not supported"),
        (
            "LlamaForCausalLM",
            {"hidden_act": "mish"},
            "hidden_act 'mish' is not supported; supported: silu",
        ),
        (
            "LlamaForCausalLM",
            {"sliding_window": 64},
            "sliding_window is 64; LlamaForCausalLM has no such",
        ),
        (
            "LlamaForCausalLM",
            {"quantization_config": {"quant_method": "gptq"}},
            "quantization_config .method 'gptq'",
        ),
        ("LlamaForCausalLM", {"is_causal": False}, "is_causal is False"),
        ("LlamaForCausalLM", {"per_layer_config": {"0": {}}}, "per_layer_config"),
        ("LlamaForCausalLM", {"head_dim": 15}, "15 wide"),
        (
            "MistralForCausalLM",
            {"attention_bias": True},
            "attention_bias is True; MistralForCausalLM",
        ),
        (
            "MistralForCausalLM",
            {"sliding_window": 8, "layer_types": ["full_attention"] * 3},
            "layer_types differs",
        ),
        ("Qwen2ForCausalLM", {"mlp_bias": True}, "mlp_bias is True"),
        (
            "Qwen3ForCausalLM",
            {"layer_types": ["linear_attention"] * 3},
            "layer_types has linear_attention",
        ),
    ],
)
def test_what_is_not_built_is_refused_by_name(
    config: Config, architecture: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        build(config(architecture, **changes), dtype="f32")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architectures": ...}, "architectures is missing; expected a list of strings"),
        (
            {"architectures": "LlamaForCausalLM"},
            "architectures is 'LlamaForCausalLM'; expected a list",
        ),
        (
            {"hidden_size": ...},
            "config.json: field hidden_size is missing; expected a whole number from 1",
        ),
        ({"hidden_size": 0}, "hidden_size is 0; expected a whole number from 1"),
        ({"hidden_size": -64}, "hidden_size is -64"),
        ({"hidden_size": 64.0}, "hidden_size is 64.0"),
        ({"hidden_size": True}, "hidden_size is True"),
        ({"hidden_size": "64"}, "hidden_size is '64'"),
        ({"hidden_size": 66}, "hidden_size is 66 and num_attention_heads 4; expected a multiple"),
        ({"vocab_size": None}, "vocab_size is missing"),
        (
            {"num_hidden_layers": 10**6},
            "num_hidden_layers is 1000000; expected a whole number from 1 to 1024",
        ),
        ({"num_key_value_heads": 3}, "num_attention_heads is 4 and num_key_value_heads 3"),
        ({"max_position_embeddings": ...}, "max_position_embeddings is missing"),
        ({"rms_norm_eps": "1e-6"}, "rms_norm_eps is '1e-6'; expected a number"),
        ({"rms_norm_eps": float("inf")}, "rms_norm_eps is inf"),
        ({"attention_bias": 1}, "attention_bias is 1; expected true or false"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings is 'yes'"),
        ({"hidden_act": ["silu"]}, "hidden_act is .'silu'.; expected a string"),
        ({"rope_theta": 0}, "rope_theta is 0; expected a number from 1"),
        (
            {"layer_types": ["full_attention"]},
            "layer_types has 1 entries; expected num_hidden_layers, 3",
        ),
        ({"layer_types": ["sliding_attention"] * 3}, "no sliding_window is in use"),
    ],
)
def test_malformed_fields_are_named(config: Config, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        build(config(**changes), dtype="f32")


def test_a_config_that_is_no_object_is_refused() -> None:
    with pytest.raises(CheckpointError, match="expected a JSON object"):
        facts([1, 2])  # type: ignore[arg-type]


def test_long_values_are_cut_in_errors(config: Config) -> None:
    with pytest.raises(CheckpointError) as caught:
        build(config(vocab_size="9" * 5000), dtype="f32")
    assert len(str(caught.value)) < 250


def test_every_architecture_has_a_family() -> None:
    assert set(FAMILIES) == set(ARCHITECTURES)


def test_a_model_of_many_layers_holds(config: Config) -> None:
    graph = build(config("Qwen3ForCausalLM", num_hidden_layers=100), dtype="f16")
    verify(graph)
    assert len(graph.cache[0].layers) == 100
