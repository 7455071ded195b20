"""Limits and cache sizes: taken as set, chosen where open, refused with the numbers."""

from __future__ import annotations

import pytest
from dovetail.config import EngineConfig
from dovetail.engine.sizing import choose_limits, choose_sizes
from dovetail.errors import ConfigError
from dovetail.platform import CacheForm, Memory
from hypothesis import given
from hypothesis import strategies as st

HOST = Memory(total=1 << 34, free=1 << 33, largest_allocation=1 << 33, host=True)
FORM = CacheForm("bf16", 32, 32)


def limits(context=2048, memory=HOST, form=FORM, **settings):
    return choose_limits(EngineConfig(**settings), context=context, form=form, memory=memory)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_model_len": 4096}, "context is 2048"),
        ({"max_model_len": 0}, "at least 1"),
        ({"max_num_seqs": -1}, "at least 1"),
        ({"block_size": 24}, "multiples of 32"),
        ({"block_size": 64}, "up to 32"),
        ({"kv_cache_memory": 0}, "at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        limits(**settings)


def test_block_size_follows_the_cache_form():
    assert limits().block_size == 32
    assert limits(form=CacheForm("f32", 1, 1024)).block_size == 16


def test_context_is_cut_to_the_cache_and_said():
    config = EngineConfig(kv_cache_memory=10_000)
    sizes = choose_sizes(config, limits(), block_bytes=1000, workspace=0, memory=HOST)
    assert sizes.num_blocks == 11
    assert sizes.limits.max_model_len == 320
    assert "--max-model-len" in sizes.notes[0]


def test_context_that_was_asked_for_is_never_cut():
    config = EngineConfig(kv_cache_memory=10_000, max_model_len=2048)
    with pytest.raises(ConfigError, match="room for 320 tokens"):
        choose_sizes(config, limits(max_model_len=2048), block_bytes=1000, workspace=0, memory=HOST)


@pytest.mark.parametrize(
    ("settings", "host", "block_bytes", "most_cached"),
    [
        ({}, True, 1 << 20, 384),
        ({}, True, 1 << 24, 64),  # one sequence needs more than 384 MiB
        ({"kv_cache_memory": 1 << 32}, True, 1 << 20, None),
        ({}, False, 1 << 20, None),
    ],
)
def test_idle_prefixes_fill_only_memory_that_nobody_else_needs(
    settings, host, block_bytes, most_cached
):
    memory = Memory(total=1 << 35, free=1 << 34, largest_allocation=1 << 34, host=host)
    sizes = choose_sizes(
        EngineConfig(**settings),
        limits(memory=memory),
        block_bytes=block_bytes,
        workspace=0,
        memory=memory,
    )
    assert sizes.most_cached == most_cached


@given(
    free=st.integers(0, 1 << 34), block=st.integers(1, 1 << 20), workspace=st.integers(0, 1 << 33)
)
def test_blocks_never_exceed_what_is_free(free, block, workspace):
    memory = Memory(total=1 << 34, free=free, largest_allocation=free, host=True)
    try:
        sizes = choose_sizes(
            EngineConfig(),
            limits(memory=memory),
            block_bytes=block,
            workspace=workspace,
            memory=memory,
        )
    except ConfigError:
        return
    assert (sizes.num_blocks - 1) * block <= max(0, free - workspace)
    assert (sizes.num_blocks - 1) * 32 >= sizes.limits.max_model_len
