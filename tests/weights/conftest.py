"""Checkpoints written to disk for the tests of weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

CONFIG = {"architectures": ["LlamaForCausalLM"], "eos_token_id": 2}


class Directory:
    """A model directory under construction: what a test does not write is a working default."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(exist_ok=True)
        self.json("config.json", CONFIG)
        self.json("tokenizer.json", {})
        self.tensors({"weight": np.zeros((2, 3), np.float32)})

    def json(self, name: str, value: Any) -> None:
        (self.path / name).write_text(json.dumps(value))

    def tensors(
        self, tensors: dict[str, np.ndarray[Any, Any]], name: str = "model.safetensors"
    ) -> Path:
        save_file(tensors, self.path / name)
        return self.path / name

    def shards(self, *shards: dict[str, np.ndarray[Any, Any]]) -> None:
        """Tensors in several files with an index."""
        (self.path / "model.safetensors").unlink(missing_ok=True)
        index = {}
        for number, tensors in enumerate(shards):
            name = f"model-{number:05}-of-{len(shards):05}.safetensors"
            self.tensors(tensors, name)
            index |= dict.fromkeys(tensors, name)
        self.json("model.safetensors.index.json", {"weight_map": index})


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    return Directory(tmp_path / "model")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def bf16(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return array.astype(ml_dtypes.bfloat16)
