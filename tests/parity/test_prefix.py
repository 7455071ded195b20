"""A second request that shares most of its prompt computes the rest, and gets the tokens of a cold run."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from dovetail import LLM, SamplingParams
from dovetail_sdk.testing import write_checkpoint

SHARED, WHOLE = 1000, 1030
PARAMS = SamplingParams(temperature=0, max_tokens=32, ignore_eos=True, logprobs=5)
STABLE = [("reference", "f32", "f32")]
if importlib.util.find_spec("openvino"):
    STABLE += [("cpu", "f32", "f32"), ("cpu", "bf16", "bf16")]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("long"), max_position_embeddings=2048, seed=3)


def prompts() -> tuple[list[int], list[int]]:
    rng = np.random.default_rng(5)
    tokens = rng.integers(2, 320, WHOLE + 64).tolist()
    return tokens[:WHOLE], tokens[:SHARED] + tokens[WHOLE : WHOLE + WHOLE - SHARED]


def cold_and_warm(directory, platform: str, dtype: str, cache: str):
    if platform == "cpu" and dtype not in cpu_dtypes():
        pytest.skip(f"this processor does not compute in {dtype}")
    first, second = prompts()
    settings = {
        "platform": platform,
        "dtype": dtype,
        "kv_cache_dtype": cache,
        "max_num_batched_tokens": 512,
    }
    with LLM(str(directory), **settings) as llm:
        (cold,) = llm.generate(second, PARAMS)
    with LLM(str(directory), **settings) as llm:
        llm.generate(first, PARAMS)
        before = llm.engine.stats()
        (warm,) = llm.generate(second, PARAMS)
        after = llm.engine.stats()
    assert cold.cached_tokens == 0 and warm.cached_tokens == SHARED
    assert after.total_cached_tokens - before.total_cached_tokens == SHARED
    return cold.outputs[0], warm.outputs[0]


def cpu_dtypes() -> tuple[str, ...]:
    from dovetail.plugins import select

    selection = select("cpu")
    device = selection.platform.open(selection.devices)
    try:
        return device.capabilities.compute_dtypes
    finally:
        device.close()


@pytest.mark.parametrize(("platform", "dtype", "cache"), STABLE)
def test_a_shared_prefix_is_computed_once_and_changes_no_token(directory, platform, dtype, cache):
    cold, warm = cold_and_warm(directory, platform, dtype, cache)
    assert warm.token_ids == cold.token_ids


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="needs the cpu platform")
def test_an_eight_bit_cache_changes_log_probabilities_a_little(directory, record_property):
    """Its blocks are quantised anew as they fill, so the bytes depend on how a prompt was cut."""
    cold, warm = cold_and_warm(directory, "cpu", "f32", "u8")
    same = 0
    for mine, other in zip(cold.token_ids, warm.token_ids, strict=True):
        if mine != other:
            break
        same += 1
    differences = [
        abs(a.logprob - b.logprob)
        for a, b in zip(cold.logprobs[:same], warm.logprobs[:same], strict=True)
    ]
    record_property("equal_tokens", same)
    record_property("largest_difference", max(differences))
    assert same > 0 and max(differences) < 1.0
