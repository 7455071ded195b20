"""Frequencies and factors are those of transformers, for every type and way to write it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest
from dovetail.errors import CheckpointError, UnsupportedModel
from dovetail.models.fields import Fields
from dovetail.models.rope import TYPES, Rope, read_rope
from transformers import AutoConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

Config = Callable[..., dict[str, Any]]

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 128,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}

SCALINGS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "default": {"rope_type": "default"},
    "linear": {"rope_type": "linear", "factor": 2.5},
    "linear_old_key": {"type": "linear", "factor": 3},
    "dynamic": {"rope_type": "dynamic", "factor": 2.0},
    "llama3": LLAMA3,
    "llama3_wide": {**LLAMA3, "factor": 32.0, "low_freq_factor": 0.5, "high_freq_factor": 40},
    "yarn": YARN,
    "yarn_old_key": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128},
    "yarn_no_original": {"rope_type": "yarn", "factor": 2.0},
    "yarn_null_factor": {**YARN, "factor": None},
    "yarn_betas": {**YARN, "beta_fast": 64, "beta_slow": 2.5},
    "yarn_close_betas": {**YARN, "beta_fast": 1.0, "beta_slow": 1.0},
    "yarn_untruncated": {**YARN, "truncate": False},
    "yarn_attention_factor": {**YARN, "attention_factor": 1.7},
    "yarn_mscale": {**YARN, "mscale": 0.707, "mscale_all_dim": 1.1},
    "yarn_mscale_alone": {**YARN, "mscale": 0.707},
    "yarn_factor_one": {**YARN, "factor": 1.0},
}


def expected(config: dict[str, Any], length: int | None = None) -> Rope:
    """What transformers computes for a config.json."""
    kind = {"L": "llama", "M": "mistral"}.get(config["architectures"][0][0]) or config[
        "architectures"
    ][0][:5].lower()
    theirs = AutoConfig.for_model(kind, **{**config, "architectures": None})
    name = theirs.rope_parameters["rope_type"]
    if name == "default":
        module = importlib.import_module(f"transformers.models.{kind}.modeling_{kind}")
        rotary = getattr(module, f"{kind.capitalize()}RotaryEmbedding")
        frequencies, factor = rotary.compute_default_rope_parameters(theirs)
    else:
        if not hasattr(theirs, "head_dim"):
            theirs.head_dim = theirs.hidden_size // theirs.num_attention_heads
        frequencies, factor = ROPE_INIT_FUNCTIONS[name](theirs, seq_len=length)
    return Rope(tuple(frequencies.tolist()), factor)


def check(ours: Rope, theirs: Rope) -> None:
    assert ours.factor == pytest.approx(theirs.factor, rel=1e-12)
    assert ours.frequencies == pytest.approx(theirs.frequencies, rel=3e-6)


@pytest.mark.parametrize("name", SCALINGS)
@pytest.mark.parametrize("architecture", ["Llama", "Mistral", "Qwen2", "Qwen3"])
def test_old_keys_give_what_transformers_computes(
    config: Config, architecture: str, name: str
) -> None:
    fields = config(
        f"{architecture}ForCausalLM", rope_scaling=SCALINGS[name], rope_theta=50000.0, head_dim=32
    )
    check(read_rope(Fields(fields), 32, None), expected(fields))


@pytest.mark.parametrize("name", [name for name in SCALINGS if name != "none"])
def test_new_keys_give_what_transformers_computes(config: Config, name: str) -> None:
    parameters = {**(SCALINGS[name] or {}), "rope_theta": 1000000.0}
    fields = config(rope_parameters=parameters, head_dim=64)
    check(read_rope(Fields(fields), 64, None), expected(fields))


def test_the_base_is_ten_thousand_unless_said(config: Config) -> None:
    check(read_rope(Fields(config()), 16, None), expected(config()))


def test_old_parameters_come_before_new_ones(config: Config) -> None:
    fields = config(rope_scaling=dict(LLAMA3), rope_parameters={"rope_type": "default"})
    check(read_rope(Fields(fields), 16, None), expected(fields))


@pytest.mark.parametrize("kind", ["llama3", "yarn"])
def test_an_outer_original_length_comes_first(config: Config, kind: str) -> None:
    scaling = dict(LLAMA3 if kind == "llama3" else YARN)
    fields = config(rope_scaling=scaling, original_max_position_embeddings=64)
    check(read_rope(Fields(fields), 16, None), expected(fields))


@pytest.mark.parametrize("length", [None, 100, 512, 1300, 4096])
def test_dynamic_is_fixed_for_the_longest_context(config: Config, length: int | None) -> None:
    fields = config(rope_scaling={"rope_type": "dynamic", "factor": 3.0}, head_dim=32)
    check(read_rope(Fields(fields), 32, length), expected(fields, length))


def test_every_type_is_compared() -> None:
    compared = {(scaling or {}).get("rope_type") for scaling in SCALINGS.values()}
    assert set(TYPES) == compared - {None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"rope_scaling": {"rope_type": "longrope"}},
            "rope type 'longrope' is not supported; supported: default",
        ),
        ({"rope_scaling": {"type": "su"}}, "rope type 'su'"),
        ({"partial_rotary_factor": 0.5}, "field partial_rotary_factor is not supported"),
        (
            {"rope_parameters": {"partial_rotary_factor": 0.5}},
            "field rope_parameters.partial_rotary_factor",
        ),
        ({"rope_parameters": {"full_attention": {}}}, "field rope_parameters.full_attention"),
        ({"rope_scaling": {"type": "default", "mrope_section": [8, 4, 4]}}, "mrope_section"),
    ],
)
def test_variants_that_are_not_built_are_refused_by_name(
    config: Config, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        read_rope(Fields(config(**changes)), 16, None)


@pytest.mark.parametrize(
    ("scaling", "message"),
    [
        ("linear", "field rope_scaling is 'linear'; expected a JSON object"),
        ({"type": "linear"}, "rope_scaling.factor is missing"),
        ({"type": "linear", "factor": 0.0}, "rope_scaling.factor is 0.0"),
        ({"type": "linear", "factor": "2"}, "rope_scaling.factor is '2'"),
        ({"type": "linear", "factor": float("nan")}, "rope_scaling.factor is nan"),
        ({"type": "yarn"}, "rope_scaling.factor is missing"),
        ({**YARN, "truncate": 1}, "truncate is 1; expected true or false"),
        ({**LLAMA3, "low_freq_factor": None}, "low_freq_factor is missing"),
        ({**LLAMA3, "high_freq_factor": 1.0}, "high_freq_factor is 1.0; expected more than low"),
        ({**YARN, "rope_theta": 1.0}, "rope_theta is 1.0; expected a number above 1"),
        ({"rope_type": 3}, "rope_type is 3; expected a string"),
    ],
)
def test_malformed_parameters_are_named(config: Config, scaling: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_rope(Fields(config(rope_scaling=scaling)), 16, None)


@pytest.mark.parametrize(("width", "kind"), [(15, "default"), (2, "dynamic")])
def test_widths_that_cannot_be_rotated_are_refused(config: Config, width: int, kind: str) -> None:
    with pytest.raises(UnsupportedModel, match="wide"):
        read_rope(Fields(config(rope_scaling={"type": kind, "factor": 2.0})), width, None)
