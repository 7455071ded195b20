"""The write of keys and values into the paged cache in Pallas: block by block, in place.

A row of a block is less than a tile of the memory for narrow types, so that a block is read, changed and written back;
XLA would do the same, one token at a time.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from dovetail_tpu.trace import Array, Layer, Step

I32 = jnp.int32


def kv_write(step: Step, both: Array, cache: Array, layer: Layer) -> Array:
    """Tokens' keys and values into their blocks.

    both     [T, K, W]        a key and its value side by side, in the cache's type
    cache    [L, B, K, S, W]  given away
    returns  the cache
    """
    feed = step.feed
    block, token = feed[f"page_block.{layer.group}"], feed["page_token"]
    offset, count = feed["page_offset"], feed["page_count"]
    size = cache.shape[3]
    index = token[:, None] - offset[:, None] + np.arange(size, dtype=np.int32)
    new = jnp.take(both, index, axis=0, mode="clip").transpose(0, 2, 1, 3)
    page = (None, None, *cache.shape[2:])
    place = jnp.asarray(layer.place, I32).reshape(1)

    def of_cache(at: Any, block_ref: Any, _: Any, __: Any, place_ref: Any) -> tuple[Any, ...]:
        return place_ref[0], block_ref[at], 0, 0, 0

    made: Array = pl.pallas_call(
        _page,
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=4,
            grid=(len(block),),
            in_specs=[
                pl.BlockSpec((None, *cache.shape[2:]), lambda at, *_: (at, 0, 0, 0)),
                pl.BlockSpec(page, of_cache),
            ],
            out_specs=pl.BlockSpec(page, of_cache),
        ),
        out_shape=jax.ShapeDtypeStruct(cache.shape, cache.dtype),
        input_output_aliases={5: 0},
        interpret=step.settings.interpreted,
        name="kv_write",
    )(block, offset, count, place, new, cache)
    return made


def _page(
    block_ref: Any,
    offset_ref: Any,
    count_ref: Any,
    place_ref: Any,
    new_ref: Any,
    old_ref: Any,
    out_ref: Any,
) -> None:
    """One block [K, S, W]: the step's tokens in it, the others as they are."""
    at = pl.program_id(0)
    place = lax.broadcasted_iota(I32, new_ref.shape, 1) - offset_ref[at]
    mine = (place >= 0) & (place < count_ref[at])
    out_ref[...] = jnp.where(mine, new_ref[...], old_ref[...])
