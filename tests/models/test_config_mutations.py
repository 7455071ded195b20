"""Whatever stands in a config.json, building gives a graph that holds or an error that says what is wrong."""

from __future__ import annotations

from typing import Any

from dovetail.errors import CheckpointError
from dovetail.graph import verify
from dovetail.models import ARCHITECTURES, build, facts
from hypothesis import given, settings
from hypothesis import strategies as st

BASE: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 512,
}

NUMBERS = st.one_of(
    st.integers(-3, 130),
    st.integers(),
    st.floats(),
    st.sampled_from([0, -1, 1 << 31, 1 << 63, 1e308, 1e-308, float("nan"), float("inf")]),
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
ROPE_KEYS = st.sampled_from(
    [
        "rope_type",
        "type",
        "factor",
        "rope_theta",
        "low_freq_factor",
        "high_freq_factor",
        "original_max_position_embeddings",
        "attention_factor",
        "beta_fast",
        "beta_slow",
        "mscale",
        "mscale_all_dim",
        "truncate",
        "partial_rotary_factor",
        "full_attention",
    ]
)
ROPE_TYPES = st.sampled_from(["default", "linear", "dynamic", "yarn", "llama3", "longrope"])
ROPE = st.builds(
    lambda kind, known, wild: {**known, **wild, **({"rope_type": kind} if kind else {})},
    st.none() | ROPE_TYPES,
    st.fixed_dictionaries(
        {},
        optional={
            "factor": st.floats(0.5, 64.0),
            "low_freq_factor": st.floats(0.1, 4.0),
            "high_freq_factor": st.floats(0.1, 40.0),
            "original_max_position_embeddings": st.integers(1, 4096),
        },
    ),
    st.dictionaries(ROPE_KEYS, JSON, max_size=2),
)
KEYS = st.sampled_from(
    [
        *BASE,
        "architectures",
        "rms_norm_eps",
        "hidden_act",
        "rope_theta",
        "attention_bias",
        "mlp_bias",
        "tie_word_embeddings",
        "sliding_window",
        "use_sliding_window",
        "max_window_layers",
        "layer_types",
        "original_max_position_embeddings",
        "partial_rotary_factor",
        "quantization_config",
        "is_causal",
        "dtype",
        "torch_dtype",
    ]
)


@settings(max_examples=600, deadline=None)
@given(
    architecture=st.sampled_from(list(ARCHITECTURES)),
    removed=st.sets(st.sampled_from(list(BASE)), max_size=1),
    changes=st.dictionaries(KEYS, JSON, max_size=3),
    rope=st.none() | ROPE,
    rope_key=st.sampled_from(["rope_scaling", "rope_parameters"]),
    max_model_len=st.none() | st.integers(1, 1 << 31),
)
def test_building_gives_a_graph_that_holds_or_says_what_is_wrong(
    architecture: str,
    removed: set[str],
    changes: dict[str, Any],
    rope: dict[str, Any] | None,
    rope_key: str,
    max_model_len: int | None,
) -> None:
    config = {"architectures": [architecture], **BASE, rope_key: rope, **changes}
    for name in removed:
        config.pop(name, None)
    try:
        sizes = facts(config)
        graph = build(config, dtype="f32", max_model_len=max_model_len)
    except CheckpointError as error:
        assert "config.json" in str(error)
        return
    verify(graph)
    assert graph.weights["model.embed_tokens.weight"].shape == (sizes.vocab_size, sizes.hidden)


@settings(max_examples=100, deadline=None)
@given(JSON)
def test_any_json_is_read_or_refused(value: Any) -> None:
    for read in (facts, lambda config: build(config, dtype="f32")):
        try:
            read(value)
        except CheckpointError:
            continue
        raise AssertionError("read a config without any field")
