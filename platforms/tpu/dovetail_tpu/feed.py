"""The arrays of a step, one vector of i32 on their way to the device, because every array of its own costs a call: where each
is in it, and what is made of them there. `fill.py` fills it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import jax.numpy as jnp
import numpy as np
from dovetail.platform import I32, KVLayout

from .buckets import Bucket
from .trace import Array

BLANK_COLUMNS = np.array([0, -1, -1, 0, 0, 0, 0, 0, 0, 0, -1], np.int32)
"""Words of a row that is sampled, its output and the columns of SamplingColumns with the seed's two, for one that is not: no
slot, no target, no log-probability."""


@dataclass(frozen=True, slots=True)
class Format:
    """Where each array is in the vector.

    fields  name -> (start, shape)
    blank   the vector of a step of padding alone, in which nothing is sampled
    """

    fields: Mapping[str, tuple[int, tuple[int, ...]]]
    blank: I32 = field(repr=False, compare=False)

    def get(self, vector: Any, name: str) -> Any:
        """An array of a NumPy vector (a view) or of a traced one."""
        start, shape = self.fields[name]
        return vector[start : start + prod(shape)].reshape(shape)

    def put(self, vector: I32, name: str, numbers: I32) -> None:
        """The first numbers of an array."""
        start, _ = self.fields[name]
        vector[start : start + numbers.size] = numbers

    def split(self, vector: Array, bucket: Bucket) -> dict[str, Array]:
        """Every array by name, of a traced vector; tiles of single tokens are said by the tokens."""
        feed = {name: self.get(vector, name) for name in self.fields}
        if bucket.query_tokens == 1 and "position" in feed:
            row = feed["row_of_token"]
            feed["tile_row"] = jnp.minimum(row, bucket.rows - 1)
            feed["tile_count"] = (row < bucket.rows).astype(jnp.int32)
            feed["tile_position"] = feed["position"]
        return feed


def format_of(bucket: Bucket, inputs: Sequence[str], layout: KVLayout | None) -> Format:
    """The arrays of a step for a graph with those inputs.

    tokens, positions [T]  and token_types [T] where the graph reads them
    row_of_token      [T]  R for padding
    row_starts    [R + 1]  where the graph reads them; rows of padding are empty
    outputs           [N]
    position          [T]  the token's place in its row, those in the cache before it
    place             [T]  its place in the tiles, end to end
    tile_row, tile_token, tile_count, tile_position  [X]  a tile's row, first token, tokens and first position
    page_token, page_offset, page_count  [W]  of a block that is written: first token, its offset, tokens
    table.g    [R, M]      per cache group
    block.g       [T]      the block that the token is written to; scrap for padding
    page_block.g  [W]      the block that is written
    columns   [N, 11]      of the rows that are sampled, see BLANK_COLUMNS; sampled [1]: their number

    place and the tiles are left out where a tile is a token.
    """
    tokens, rows = (bucket.tokens,), bucket.rows
    shapes: dict[str, tuple[int, ...]] = {"tokens": tokens, "positions": tokens}
    if "token_types" in inputs:
        shapes["token_types"] = tokens
    shapes["row_of_token"] = tokens
    if "row_starts" in inputs:
        shapes["row_starts"] = (rows + 1,)
    shapes["outputs"] = (bucket.outputs,)
    if layout is not None and layout.groups:
        shapes |= _cache_shapes(bucket, layout)
    shapes |= {"columns": (bucket.outputs, BLANK_COLUMNS.size), "sampled": (1,)}
    fields, at = {}, 0
    for name, shape in shapes.items():
        fields[name] = (at, shape)
        at += prod(shape)
    form = Format(fields, np.zeros(at, np.int32))
    form.get(form.blank, "row_of_token")[:] = rows
    form.get(form.blank, "columns")[:] = BLANK_COLUMNS
    return form


def _cache_shapes(bucket: Bucket, layout: KVLayout) -> dict[str, tuple[int, ...]]:
    """Of what attention and the writes to the cache need."""
    tokens, pages = (bucket.tokens,), (bucket.pages(layout.block_size),)
    shapes: dict[str, tuple[int, ...]] = {"position": tokens}
    if bucket.query_tokens > 1:
        tiles = ("tile_row", "tile_token", "tile_count", "tile_position")
        shapes |= {"place": tokens} | dict.fromkeys(tiles, (bucket.tiles,))
    shapes |= dict.fromkeys(("page_token", "page_offset", "page_count"), pages)
    for group in range(len(layout.groups)):
        shapes[f"table.{group}"] = (bucket.rows, bucket.blocks)
        shapes[f"block.{group}"] = tokens
        shapes[f"page_block.{group}"] = pages
    return shapes
