"""Engines on the null platform: what they deliver can be checked exactly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from dovetail.config import EngineConfig
from dovetail.engine.engine import Engine
from dovetail.engine.load import load_engine
from dovetail.weights.checkpoint import Checkpoint, open_checkpoint
from dovetail_sdk.testing import write_checkpoint

TOKEN_BYTES = 3 * 2 * 2 * 32 * 4  # layers, keys and values, heads, width, f32
MakeEngine = Callable[..., Engine]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """A random checkpoint of 320 tokens and a context of 512."""
    return write_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def checkpoint(tiny: Path) -> Checkpoint:
    return open_checkpoint(str(tiny))


@pytest.fixture(scope="session")
def null_engine(checkpoint: Checkpoint) -> MakeEngine:
    """An engine on the null platform with a cache of `num_blocks` blocks, scrap aside."""

    def make(
        device: str = "strict", *, num_blocks: int | None = None, block_size: int = 4, **settings
    ) -> Engine:
        if num_blocks is not None:
            settings["kv_cache_memory"] = num_blocks * block_size * TOKEN_BYTES
        config = EngineConfig(platform=f"null:{device}", block_size=block_size, **settings)
        return load_engine(config, checkpoint)

    return make
