"""A step's arrays on their way to the device: padded, with everything that can be said on the host said there, and
joined to one vector of i32, because every array of its own costs a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from dovetail.platform import I32, Batch, KVLayout, SamplingColumns

from .buckets import Bucket

COLUMNS = 11
"""Words of a row that is sampled: its output, and the columns of SamplingColumns with the seed's two."""


@dataclass(frozen=True, slots=True)
class Format:
    """Where each array is in the vector.

    fields  name -> (start, shape)
    size    of the vector
    """

    fields: Mapping[str, tuple[int, tuple[int, ...]]]
    size: int

    def split(self, vector: Any) -> dict[str, Any]:
        """Every array by name, of a NumPy vector (as views) or a traced one."""
        return {
            name: vector[start : start + prod(shape)].reshape(shape)
            for name, (start, shape) in self.fields.items()
        }


def format_of(bucket: Bucket, inputs: Sequence[str], layout: KVLayout | None) -> Format:
    """The arrays of a step for a graph with those inputs.

    tokens, positions [T]  and token_types [T] where the graph reads them
    row_of_token      [T]  R for padding
    row_starts    [R + 1]  rows of padding are empty
    outputs           [N]
    place             [T]  the token's place in the tiles, end to end
    offset            [T]  its place in its block
    tile_row, tile_token, tile_count, tile_position  [X]  a tile's row, first token, tokens and first position
    page_token, page_offset, page_count  [W]  of a block that is written: first token, its offset, tokens
    table.g    [R, M]      per cache group
    block.g       [T]      the block that the token is written to; scrap for padding
    page_block.g  [W]      the block that is written
    columns   [N, 11]      of the rows that are sampled, see COLUMNS; sampled [1]: their number
    """
    tokens, rows, tiles = bucket.tokens, bucket.rows, bucket.tiles
    shapes: dict[str, tuple[int, ...]] = {"tokens": (tokens,), "positions": (tokens,)}
    if "token_types" in inputs:
        shapes["token_types"] = (tokens,)
    shapes |= {"row_of_token": (tokens,), "row_starts": (rows + 1,), "outputs": (bucket.outputs,)}
    if layout is not None and layout.groups:
        pages = bucket.pages(layout.block_size)
        shapes |= {"place": (tokens,), "offset": (tokens,)}
        shapes |= dict.fromkeys(("tile_row", "tile_token", "tile_count", "tile_position"), (tiles,))
        shapes |= dict.fromkeys(("page_token", "page_offset", "page_count"), (pages,))
        for group in range(len(layout.groups)):
            shapes[f"table.{group}"] = (rows, bucket.blocks)
            shapes[f"block.{group}"] = (tokens,)
            shapes[f"page_block.{group}"] = (pages,)
    shapes |= {"columns": (bucket.outputs, COLUMNS), "sampled": (1,)}
    fields, at = {}, 0
    for name, shape in shapes.items():
        fields[name] = (at, shape)
        at += prod(shape)
    return Format(fields, at)


def fill_step(form: Format, bucket: Bucket, batch: Batch, layout: KVLayout | None) -> I32:
    """The vector of a step; nothing is sampled until `fill_columns`."""
    vector = np.zeros(form.size, np.int32)
    arrays = form.split(vector)
    count, rows = batch.tokens.size, batch.slots.size
    arrays["tokens"][:count] = batch.tokens
    arrays["positions"][:count] = batch.positions[0]
    if "token_types" in arrays:
        if batch.token_types is None:
            raise ValueError("the graph reads token_types, and the step has none")
        arrays["token_types"][:count] = batch.token_types
    arrays["row_starts"][: rows + 1] = batch.row_starts
    arrays["row_starts"][rows + 1 :] = count
    arrays["outputs"][: batch.outputs.size] = batch.outputs
    lengths = batch.row_starts[1:] - batch.row_starts[:-1]
    row_of_token = np.repeat(np.arange(rows, dtype=np.int32), lengths)
    arrays["row_of_token"][:count] = row_of_token
    arrays["row_of_token"][count:] = bucket.rows
    if layout is not None and layout.groups:
        _fill_cache(arrays, bucket, batch, layout, lengths, row_of_token)
    return vector


def _fill_cache(
    arrays: dict[str, I32],
    bucket: Bucket,
    batch: Batch,
    layout: KVLayout,
    lengths: I32,
    row_of_token: I32,
) -> None:
    """What attention and the writes to the cache need."""
    count, starts, size = batch.tokens.size, batch.row_starts[:-1], layout.block_size
    local = np.arange(count, dtype=np.int32) - starts[row_of_token]
    position = batch.past[row_of_token] + local
    tile = bucket.query_tokens
    tiles = -(-lengths // tile)
    before = np.cumsum(tiles) - tiles
    arrays["place"][:count] = (before[row_of_token] + local // tile) * tile + local % tile
    number = int(tiles.sum())
    row = np.repeat(np.arange(len(starts), dtype=np.int32), tiles)
    within = (np.arange(number, dtype=np.int32) - before[row]) * tile
    arrays["tile_row"][:number] = row
    arrays["tile_token"][:number] = starts[row] + within
    arrays["tile_count"][:number] = np.minimum(lengths[row] - within, tile)
    arrays["tile_position"][:number] = batch.past[row] + within
    arrays["offset"][:count] = position % size
    block = position // size
    first = np.flatnonzero((local == 0) | (position % size == 0))
    pages = first.size
    arrays["page_token"][:pages] = first
    arrays["page_offset"][:pages] = position[first] % size
    arrays["page_count"][: pages - 1] = first[1:] - first[:-1]
    arrays["page_count"][pages - 1] = count - first[-1]
    for group, table in enumerate(batch.tables):
        arrays[f"table.{group}"][: len(starts), : table.shape[1]] = table
        target = table[row_of_token, block]
        arrays[f"block.{group}"][:count] = target
        arrays[f"page_block.{group}"][:pages] = target[first]


def check_step(batch: Batch, bucket: Bucket, vocabulary: int | None, blocks: Sequence[int]) -> None:
    """Raise ValueError where a step's numbers are outside of what there is."""
    if batch.positions.shape[0] != 1:
        raise ValueError(f"positions have {batch.positions.shape[0]} planes; one is understood")
    tokens, outputs = batch.tokens, batch.outputs
    if not tokens.size or int(batch.row_starts[-1]) != tokens.size:
        raise ValueError(f"rows end at token {batch.row_starts[-1]} of {tokens.size}")
    if vocabulary is not None and int(tokens.max()) >= vocabulary:
        raise ValueError(f"token id {int(tokens.max())}; the vocabulary has {vocabulary}")
    if outputs.size and not 0 <= int(outputs.min()) <= int(outputs.max()) < tokens.size:
        raise ValueError(f"outputs of tokens {outputs.min()} to {outputs.max()} of {tokens.size}")
    for table, count in zip(batch.tables, blocks, strict=False):
        if table.shape[1] > bucket.blocks:
            raise ValueError(f"rows of {table.shape[1]} blocks; compiled for {bucket.blocks}")
        if table.size and not 0 <= int(table.min()) <= int(table.max()) < count:
            raise ValueError(f"blocks {table.min()} to {table.max()}; there are {count}")


def fill_columns(into: I32, rows: I32, columns: SamplingColumns) -> None:
    """Rows to sample, into [n or more, 11]; what is behind them draws nothing and writes to no slot."""
    count = rows.size
    into[:count, 0] = rows
    into[:count, 1] = columns.slot
    into[:count, 2] = columns.target
    into[:count, 3] = columns.temperature.view(np.int32)
    into[:count, 4] = columns.top_k
    into[:count, 5] = columns.top_p.view(np.int32)
    into[:count, 6] = columns.min_p.view(np.int32)
    into[:count, 7:9] = columns.seed.view(np.int32)
    into[:count, 9] = columns.position
    into[:count, 10] = columns.logprobs
    into[count:, 1] = -1
    into[count:, 2] = -1
    into[count:, 10] = -1
