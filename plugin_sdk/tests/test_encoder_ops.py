"""The NumPy ops of encoders against torch, in f32."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from dovetail_sdk.reference.encoder_ops import embed_positions, mean_rows, tanh, whole_attention

RNG = np.random.default_rng(12)
STARTS = np.array([0, 5, 6, 39], np.int32)


def random(*shape):
    return RNG.standard_normal(shape, np.float32)


def t(array):
    return torch.from_numpy(np.ascontiguousarray(array))


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs.numpy(), atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("reach", [None, 0, 4])
@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 2), (3, 3)])
def test_whole_attention_equals_a_masked_one_over_the_packed_step(reach, heads, kv_heads):
    q, k, v = random(39, heads, 8), random(39, kv_heads, 8), random(39, kv_heads, 6)
    rows = torch.from_numpy(np.repeat([0, 1, 2], np.diff(STARTS)))
    places = torch.arange(39)
    seen = rows[:, None] == rows
    if reach is not None:
        seen &= (places[:, None] - places).abs() <= reach
    theirs = F.scaled_dot_product_attention(
        *(t(x.transpose(1, 0, 2)) for x in (q, k, v)),
        attn_mask=seen,
        scale=0.3,
        enable_gqa=heads != kv_heads,
    )
    ours = whole_attention(q, k, v, STARTS, scale=0.3, reach=reach)
    close(ours, theirs.transpose(0, 1))


def test_positions_means_and_tanh():
    table, x = random(50, 4), random(39, 4)
    positions = np.array([[3, 0, 7], [9, 9, 9]], np.int32)
    close(embed_positions(positions, table=table, offset=2), t(table)[[5, 2, 9]])
    means = mean_rows(x, STARTS, np.array([38, 4, 5, 6], np.int32))
    close(means, torch.stack([t(x)[6:].mean(0), t(x)[:5].mean(0), t(x)[5], t(x)[6:].mean(0)]))
    assert mean_rows(x, STARTS, np.zeros(0, np.int32)).shape == (0, 4)
    close(tanh(x), torch.tanh(t(x)))
