"""What is said on the host of a step whose rows have one token each is what is said of any step."""

import numpy as np
import pytest
from dovetail.graph import CacheGroup
from dovetail.platform import Batch, KVLayout
from dovetail_tpu import fill
from dovetail_tpu.buckets import Bucket
from dovetail_tpu.feed import format_of


@pytest.mark.parametrize("query_tokens", [1, 4])
def test_steps_of_single_tokens_are_filled_as_any(query_tokens, monkeypatch):
    bucket = Bucket(tokens=16, rows=8, outputs=8, blocks=8, query_tokens=query_tokens)
    layout = KVLayout(4, "f32", (CacheGroup("all", (0,), 1, 8, 8),))
    numbers = np.arange(5, dtype=np.int32)
    batch = Batch(
        tokens=numbers + 7,
        positions=(numbers + 40)[None],
        row_starts=np.arange(6, dtype=np.int32),
        slots=numbers + 1,
        past=np.array([0, 3, 4, 11, 19], np.int32),
        tables=(np.arange(1, 26, dtype=np.int32).reshape(5, 5),),
        copies=(np.zeros((0, 2), np.int32),),
        outputs=numbers,
    )
    form = format_of(bucket, ("tokens", "positions", "outputs"), layout)
    found = fill.fill_step(form, bucket, batch, layout)
    monkeypatch.setattr(fill, "_fill_single", fill._fill_ragged)
    np.testing.assert_array_equal(fill.fill_step(form, bucket, batch, layout), found)
    np.testing.assert_array_equal(form.get(found, "block.0")[:5], [1, 6, 12, 18, 25])
