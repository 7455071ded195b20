"""A small config.json of each architecture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Config = Callable[..., dict[str, Any]]


@pytest.fixture
def config() -> Config:
    """The fields every architecture needs, with changes; a field given as `...` is left out."""

    def make(architecture: str = "LlamaForCausalLM", **changes: Any) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "architectures": [architecture],
            "vocab_size": 96,
            "hidden_size": 64,
            "intermediate_size": 80,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 512,
            "rms_norm_eps": 1e-5,
            **({} if architecture == "LlamaForCausalLM" else {"sliding_window": None}),
            **changes,
        }
        return {name: value for name, value in fields.items() if value is not ...}

    return make
