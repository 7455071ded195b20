"""Sampling in one program with the step, as on chips, says what sampling in a program of its own says; and what the contract
says where the vocabulary is wide."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dovetail.platform import SamplingColumns
from dovetail_sdk.conformance.context import Context
from dovetail_sdk.conformance.driving import Row, columns, sample
from dovetail_sdk.conformance.tiny import Tiny, prompt
from dovetail_sdk.sampling import HostSampler
from dovetail_tpu import sampling
from dovetail_tpu.fill import blank_columns, fill_columns
from dovetail_tpu.platform import TpuPlatform

WIDE = {"logprobs": [2, -1, 0], "seed": [[1, 2], [3, 4], [5, 6]], "position": [7, 8, 9]}


@pytest.fixture
def context():
    made = Context(TpuPlatform())
    yield made
    made.close()


def test_fused_sampling_says_what_sampling_apart_says(context):
    found = []
    rows = [Row(prompt(3, slot), 0, [4 * slot], slot) for slot in (1, 2, 3)]
    fields = {**WIDE, "temperature": [0.0, 0.8, 1.5], "top_p": [1.0, 0.9, 1.0], "slot": [1, 2, 3]}
    for fused in (False, True):
        target = context.device._target
        chip = replace(target.settings.chip, fused_sampling=fused)
        context.device._target = replace(target, settings=replace(target.settings, chip=chip))
        with Tiny().open(context, context.main) as session:
            first = sample(session.run(rows, [2, 5, 8]), [0, 1, 2], **fields).result()
            rows2 = [Row([~slot], 3, [4 * slot], slot) for slot in (1, 2, 3)]
            second = sample(session.run(rows2), [2, 0], temperature=1.0).result()
        found.append((first.ids, first.logprobs, first.top_ids, second.ids))
    for apart, together in zip(*found, strict=True):
        np.testing.assert_allclose(together, apart, rtol=1e-5)


@pytest.mark.parametrize("vocabulary", [50_257, 131_072])
def test_draws_follow_the_definition_over_wide_vocabularies(vocabulary):
    rng = np.random.default_rng(1)
    logits = rng.standard_normal((24, vocabulary), np.float32) * 4
    made: SamplingColumns = columns(
        24,
        temperature=rng.choice([0.0, 0.7, 1.0, 1.3], 24),
        top_k=rng.choice([0, 5, 50], 24),
        top_p=rng.choice([1.0, 0.9, 0.5], 24),
        min_p=rng.choice([0.0, 0.05], 24),
        seed=rng.integers(0, 2**32, (24, 2), np.uint32),
        position=rng.integers(0, 999, 24),
    )
    packed = blank_columns(24)
    rows = np.arange(24, dtype=np.int32)
    fill_columns(packed, rows, made)
    draw = jax.jit(lambda a, b: sampling.sample(a, sampling.Columns.of(b))[0])
    found = np.asarray(draw(jnp.asarray(logits), packed))
    wanted = HostSampler(vocabulary).sample(logits, rows, made).ids
    np.testing.assert_array_equal(found, wanted)
