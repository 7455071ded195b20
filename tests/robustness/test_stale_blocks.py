"""Blocks that change hands are filled with canaries first, on platforms that compute: nobody's tokens may show it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dovetail.config import EngineConfig
from dovetail.engine import load
from dovetail.engine.engine import Engine
from dovetail.engine.prepared import Prepared
from dovetail.engine.sizing import Sizes
from dovetail.platform import BlockTransfer, LoadedModel
from dovetail.request import FinishReason, Request
from dovetail.sampling import SamplingParams
from dovetail.weights.checkpoint import open_checkpoint
from dovetail_sdk.testing import write_checkpoint

PLATFORMS = ["reference", "cpu"] if importlib.util.find_spec("openvino") else ["reference"]
CANARY = np.uint8(0xFF)
"""Everywhere in a block, it makes each of its numbers one that is none."""
CONTEXT, TOKENS = 96, 24
LARGE, FEW = 1 << 22, 230
"""Bytes of a cache with room for everything; tokens of one that is always full."""
SHARED = (40, 37, 16, 21)
"""Tokens that a prompt shares with the one before it: whole blocks, and parts of them."""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("stale"), seed=11)


def prompts() -> list[list[int]]:
    rng = np.random.default_rng(2)
    base = rng.integers(2, 320, 48).tolist()
    others = [rng.integers(2, 320, length).tolist() for length in (60, 9, 33, 64, 47)]
    return [base, *(base[:cut] + [5 + cut] * 7 for cut in SHARED), *others, base[:30]]


def request(number: int, prompt: list[int]) -> Request:
    sampling = SamplingParams(temperature=0, max_tokens=TOKENS)
    return Request(id=str(number), prompt=prompt, sampling=sampling, max_tokens=TOKENS)


class Poisoned:
    """An engine whose blocks are filled with canaries whenever they get an owner.

    filled  how often that was
    """

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, directory: Path, platform: str, memory: int
    ) -> None:
        self.filled = 0
        make_cache = load._make_cache

        def noted(model: LoadedModel, prepared: Prepared, sizes: Sizes) -> None:
            make_cache(model, prepared, sizes)
            assert isinstance(model, BlockTransfer)
            self._model, self._widths = model, model.block_bytes(load._layout(prepared))

        monkeypatch.setattr(load, "_make_cache", noted)
        self.engine = make(directory, platform, memory)
        pool = self.engine._scheduler.cache.pool
        take = pool.take

        def taken() -> int:
            self._fill(block := take())
            return block

        monkeypatch.setattr(pool, "take", taken)

    def _fill(self, block: int) -> None:
        self.filled += 1
        for group, width in enumerate(self._widths):
            data = np.full((1, width), CANARY)
            self._model.write_blocks(group, np.array([block], np.int32), data).result()


def make(directory: Path, platform: str, memory: int, **settings: Any) -> Engine:
    config = EngineConfig(
        platform=platform,
        dtype="f32",
        block_size=16 if platform == "reference" else None,
        max_model_len=CONTEXT,
        max_num_batched_tokens=24,
        max_num_seqs=4,
        kv_cache_memory=memory,
        **settings,
    )
    engine = load.load_engine(config, open_checkpoint(str(directory)))
    assert isinstance(engine, Engine)
    return engine


def run(engine: Engine, asked: list[Request]) -> dict[str, list[int]]:
    """Their tokens."""
    tokens: dict[str, list[int]] = {one.id: [] for one in asked}
    for one in asked:
        engine.submit(one)
    while engine.has_work:
        for output in engine.step():
            assert output.finish is not FinishReason.ERROR, output.error
            if output.request_id in tokens:
                tokens[output.request_id] += output.tokens
    return tokens


@pytest.mark.defends(
    "stale memory",
    "what a sequence has not computed itself, or found whole, it computes before it reads it",
    without=(
        "dovetail.scheduler.residency",
        "slots.planned[slot] = slots.computed[slot] = matched\n",
        "slots.planned[slot] = slots.computed[slot] = max(matched, min(matched + 3, len(sequence.tokens) - 1))\n",
    ),
)
@pytest.mark.defends(
    "stale memory",
    "others find a block only once all of it is computed",
    without=(
        "dovetail.scheduler.residency",
        "while (end := (sequence.published + 1) * size) <= computed:",
        "while (end := (sequence.published + 1) * size) <= min(len(sequence.tokens), size * len(sequence.blocks)):",
    ),
)
@pytest.mark.defends(
    "stale memory",
    "a block that begins as another's is copied before it is read",
    without=(
        "dovetail.scheduler.residency",
        "return source, self.cache.take(1)[0]",
        "block = self.cache.take(1)[0]\n        return block, block",
    ),
)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_no_token_depends_on_what_a_block_held_before(
    directory: Path, platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [request(number, prompt) for number, prompt in enumerate(prompts())]
    fresh = make(directory, platform, LARGE, enable_prefix_caching=False)
    expected = {one.id: run(fresh, [one])[one.id] for one in asked}
    fresh.close()
    few = FEW * LARGE // (fresh.info.num_blocks * fresh.info.block_size) + 1
    poisoned = Poisoned(monkeypatch, directory, platform, few)
    engine = poisoned.engine
    found: dict[str, list[int]] = {}
    for start in range(0, len(asked), 5):
        engine.submit(request(1000 + start, asked[start].prompt))
        engine.step()
        engine.cancel(str(1000 + start))  # its blocks come back filled in part
        found |= run(engine, asked[start : start + 5])
    stats = engine.stats()
    engine.close()
    assert found == expected
    assert stats.total_preemptions > 0 and stats.total_cached_tokens > 0
    assert engine._scheduler.stats.copies > 0 and poisoned.filled > 2 * engine.info.num_blocks
