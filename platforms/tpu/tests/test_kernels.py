"""The kernels in Pallas, interpreted, beside what XLA makes of the same op."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dovetail.graph import INT8, CacheGroup, WeightForm
from dovetail.platform import Batch, KVLayout
from dovetail_sdk.conformance.numbers import quantised
from dovetail_tpu import cached
from dovetail_tpu.buckets import Bucket
from dovetail_tpu.chips import LinearBlocks, chips
from dovetail_tpu.feed import format_of
from dovetail_tpu.fill import fill_step
from dovetail_tpu.kernels.int4_linear import int4_linear
from dovetail_tpu.kernels.int8_linear import int8_linear
from dovetail_tpu.linear import product, unpacked
from dovetail_tpu.trace import DTYPES, Layer, Loaded, Settings, Step
from dovetail_tpu.weights import pack_int4

RNG = np.random.default_rng(5)
BLOCKS = LinearBlocks(outputs=128, inputs=256)
KV_HEADS, GROUP, WIDTH, SIZE = 2, 4, 64, 8
ROWS = ((1, 0), (13, 5), (1, 23), (6, 26), (1, 15))
"""New tokens and past of each row: of one token and of many, ending before, at and after a block's boundary."""


def step_of(form, cache_dtype, query_tokens, *, races=False):
    """A step of ROWS on a cache whose unused blocks are NaN; the q, k and v of its tokens."""
    tokens = 24 if query_tokens > 1 else 5
    lengths = [n if query_tokens > 1 else 1 for n, _ in ROWS]
    past = np.array([p for _, p in ROWS], np.int32)
    bucket = Bucket(tokens=tokens, rows=8, outputs=8, blocks=8, query_tokens=query_tokens)
    layout = KVLayout(SIZE, form, (CacheGroup("all", (0, 1), KV_HEADS, WIDTH, WIDTH),))
    table = np.zeros((len(ROWS), 5), np.int32)
    ids = iter(RNG.permutation(20) + 1)
    for row, (count, before) in enumerate(zip(lengths, past, strict=True)):
        for at in range(-(-(count + before) // SIZE)):
            table[row, at] = next(ids)
    starts = np.cumsum([0, *lengths]).astype(np.int32)
    total = int(starts[-1])
    none = np.zeros((0, 2), np.int32)
    batch = Batch(
        tokens=np.zeros(total, np.int32),
        positions=np.zeros((1, total), np.int32),
        row_starts=starts,
        slots=np.arange(1, 6, dtype=np.int32),
        past=past,
        tables=(table,),
        copies=(none,),
        outputs=np.zeros(1, np.int32),
    )
    place = format_of(bucket, ("tokens", "positions"), layout)
    feed = place.split(jnp.asarray(fill_step(place, bucket, batch, layout)), bucket)
    cache = RNG.standard_normal((2, 24, KV_HEADS, SIZE, 2 * WIDTH)).astype(np.float32)
    cache[:, np.setdiff1d(np.arange(24), table)] = np.nan
    settings = Settings(chips()["emulated"], interpret=True, races=races)
    step = Step(settings, bucket, feed, [jnp.asarray(cache, cache_dtype)])
    dtype = jnp.bfloat16 if form == "bf16" else jnp.float32
    q, k, v = (
        jnp.asarray(RNG.standard_normal((tokens, heads, WIDTH)), dtype)
        for heads in (KV_HEADS * GROUP, KV_HEADS, KV_HEADS)
    )
    return step, q, k, v, total


def both_ways(step, q, k, v, **options):
    """attention_write by XLA and by Pallas: outputs and caches."""
    found = []
    caches = list(step.caches)
    for pallas in (False, True):
        settings = Settings(
            step.settings.chip, pallas=pallas, interpret=True, races=step.settings.races
        )

        def run(feed, caches, q, k, v, settings=settings):
            own = Step(settings, step.bucket, feed, list(caches))
            y = cached.attention_write(
                own, q, k, v, layer=Layer(0, 1), scale=0.2, dtype=jnp.float32, **options
            )
            return y, own.caches[0]

        found.append(jax.jit(run)(step.feed, caches, q, k, v))
    return found


@pytest.mark.parametrize(
    ("form", "query_tokens", "window", "soft_cap"),
    [("f32", 8, 11, 2.0), ("f32", 1, 11, None), ("bf16", 8, None, None), ("fp8", 1, None, None)],
)
def test_attention_and_writes_say_what_xla_says(form, query_tokens, window, soft_cap):
    step, q, k, v, total = step_of(form, DTYPES[form], query_tokens)
    xla, pallas = both_ways(step, q, k, v, window=window, soft_cap=soft_cap)
    np.testing.assert_allclose(
        np.asarray(pallas[0], np.float32)[:total],
        np.asarray(xla[0], np.float32)[:total],
        rtol=0,
        atol=2e-2 if form == "bf16" else 1e-5,
    )
    written = [np.asarray(cache, np.float32)[:, 1:] for _, cache in (xla, pallas)]
    np.testing.assert_array_equal(*written)
    assert np.isfinite(np.asarray(pallas[0], np.float32)[:total]).all()


@pytest.mark.slow
def test_the_kernels_have_no_races():
    """The interpreter that looks for them sees none."""
    from jax._src.pallas.mosaic.interpret import interpret_pallas_call as interpreter

    step, q, k, v, total = step_of("f32", jnp.float32, 8, races=True)
    xla, pallas = both_ways(step, q, k, v, window=11, soft_cap=None)
    np.testing.assert_allclose(pallas[0][:total], xla[0][:total], rtol=0, atol=1e-5)
    assert interpreter.races is not None and not interpreter.races.races_found


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_int8_says_what_xla_says(dtype):
    planes = quantised(RNG.standard_normal((384, 512)).astype(np.float32), INT8)
    x = jnp.asarray(RNG.standard_normal((32, 512)), dtype)
    found = int8_linear(x, planes["data"], planes["scale"], blocks=BLOCKS, interpret=True)
    wanted = product(x, jnp.asarray(planes["data"])) * planes["scale"]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("inputs", [512, 4096])
def test_int4_says_what_its_numbers_say(dtype, inputs):
    form = WeightForm("int4_group", group=128)
    planes = quantised(RNG.standard_normal((256, inputs)).astype(np.float32), form)
    data = jnp.asarray(pack_int4(planes["data"]))
    x = jnp.asarray(RNG.standard_normal((16, inputs)), dtype)
    found = int4_linear(
        x,
        data,
        jnp.asarray(planes["scale"]),
        jnp.asarray(planes["zero"]),
        blocks=BLOCKS,
        interpret=True,
    )
    loaded = Loaded(form, {**{k: jnp.asarray(v) for k, v in planes.items()}, "data": data})
    wanted = product(x.astype(jnp.float32), unpacked(loaded, jnp.float32))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=2e-3 * inputs**0.5)
