"""A step's arrays, put into the vector of `feed.py` on the host: padded, with everything said that can be said there. What a
step costs the host is mostly the number of calls to NumPy in here (`ci/bench/tpu/dispatch.py`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from dovetail.platform import I32, Batch, KVLayout, SamplingColumns

from .buckets import Bucket
from .feed import BLANK_COLUMNS, Format


def fill_step(form: Format, bucket: Bucket, batch: Batch, layout: KVLayout | None) -> I32:
    """The vector of a step; nothing is sampled until `fill_columns`."""
    vector = form.blank.copy()
    count, rows = batch.tokens.size, batch.slots.size
    form.put(vector, "tokens", batch.tokens)
    form.put(vector, "positions", batch.positions[0])
    form.put(vector, "outputs", batch.outputs)
    if "token_types" in form.fields:
        if batch.token_types is None:
            raise ValueError("the graph reads token_types, and the step has none")
        form.put(vector, "token_types", batch.token_types)
    if "row_starts" in form.fields:
        row_starts = form.get(vector, "row_starts")
        row_starts[: rows + 1] = batch.row_starts
        row_starts[rows + 1 :] = count
    numbers = np.arange(rows, dtype=np.int32)
    row = numbers if count == rows else np.repeat(numbers, np.diff(batch.row_starts))
    form.put(vector, "row_of_token", row)
    if layout is not None and layout.groups:
        fill = _fill_single if count == rows else _fill_ragged
        fill(form, vector, bucket, batch, layout.block_size, row)
    return vector


def _fill_single(
    form: Format, vector: I32, bucket: Bucket, batch: Batch, block_size: int, row: I32
) -> None:
    """Tiles and pages of a step with one token in each row: one of each per token. As _fill_ragged."""
    position, one = batch.past, np.ones_like(row)
    block, offset = np.divmod(position, block_size)
    form.put(vector, "position", position)
    if bucket.query_tokens > 1:
        form.put(vector, "place", row * np.int32(bucket.query_tokens))
        form.put(vector, "tile_row", row)
        form.put(vector, "tile_token", row)
        form.put(vector, "tile_count", one)
        form.put(vector, "tile_position", position)
    form.put(vector, "page_token", row)
    form.put(vector, "page_offset", offset)
    form.put(vector, "page_count", one)
    for group, table in enumerate(batch.tables):
        target = table[row, block]
        form.put(vector, f"block.{group}", target)
        form.put(vector, f"page_block.{group}", target)
        form.get(vector, f"table.{group}")[: len(table), : table.shape[1]] = table


def _fill_ragged(
    form: Format, vector: I32, bucket: Bucket, batch: Batch, block_size: int, row: I32
) -> None:
    """Tiles and pages of any step; row [T] is each token's."""
    local = np.arange(row.size, dtype=np.int32) - batch.row_starts[row]
    position = batch.past[row] + local
    block, offset = np.divmod(position, block_size)
    form.put(vector, "position", position)
    if bucket.query_tokens > 1:
        _fill_tiles(form, vector, bucket.query_tokens, batch, row, local)
    first = np.flatnonzero((local == 0) | (offset == 0)).astype(np.int32)
    form.put(vector, "page_token", first)
    form.put(vector, "page_offset", offset[first])
    form.put(vector, "page_count", np.diff(first, append=row.size))
    for group, table in enumerate(batch.tables):
        target = table[row, block]
        form.put(vector, f"block.{group}", target)
        form.put(vector, f"page_block.{group}", target[first])
        form.get(vector, f"table.{group}")[: len(table), : table.shape[1]] = table


def _fill_tiles(form: Format, vector: I32, size: int, batch: Batch, row: I32, local: I32) -> None:
    """Tiles of up to so many tokens of a row; local [T] is each token's place in its row's new ones."""
    starts, lengths = batch.row_starts[:-1], np.diff(batch.row_starts)
    tiles = -(-lengths // size)
    before = np.cumsum(tiles) - tiles
    form.put(vector, "place", (before[row] + local // size) * size + local % size)
    owner = np.repeat(np.arange(len(starts), dtype=np.int32), tiles)
    within = (np.arange(owner.size, dtype=np.int32) - before[owner]) * size
    form.put(vector, "tile_row", owner)
    form.put(vector, "tile_token", starts[owner] + within)
    form.put(vector, "tile_count", np.minimum(lengths[owner] - within, size))
    form.put(vector, "tile_position", batch.past[owner] + within)


def check_step(
    batch: Batch, bucket: Bucket, vocabulary: int | None, slots: int, blocks: Sequence[int]
) -> None:
    """Raise ValueError where a step's numbers are outside of what there is."""
    if batch.positions.shape[0] != 1:
        raise ValueError(f"positions have {batch.positions.shape[0]} planes; one is understood")
    tokens, outputs = batch.tokens, batch.outputs
    if not tokens.size or int(batch.row_starts[-1]) != tokens.size:
        raise ValueError(f"rows end at token {batch.row_starts[-1]} of {tokens.size}")
    if vocabulary is not None and int(tokens.max()) >= vocabulary:
        raise ValueError(f"token id {int(tokens.max())}; the vocabulary has {vocabulary}")
    if ~int(tokens.min()) >= slots:
        raise ValueError(f"slot {~int(tokens.min())}; there are {slots}")
    if _outside(outputs, tokens.size):
        raise ValueError(f"outputs of tokens {outputs.min()} to {outputs.max()} of {tokens.size}")
    for table, count in zip(batch.tables, blocks, strict=False):
        if table.shape[1] > bucket.blocks:
            raise ValueError(f"rows of {table.shape[1]} blocks; compiled for {bucket.blocks}")
        if _outside(table, count):
            raise ValueError(f"blocks {table.min()} to {table.max()}; there are {count}")


def _outside(numbers: I32, limit: int) -> bool:
    """Whether one of them is not in [0, limit): without its sign a number below 0 is a large one."""
    return bool(numbers.size) and int(numbers.view(np.uint32).max()) >= limit


def blank_columns(rows: int) -> I32:
    """[rows, 11] of which none is sampled."""
    return np.tile(BLANK_COLUMNS, (rows, 1))


def fill_columns(into: I32, rows: I32, columns: SamplingColumns) -> None:
    """Rows to sample, into blank columns [n or more, 11]."""
    filled = into[: rows.size]
    filled[:, 0] = rows
    filled[:, 1] = columns.slot
    filled[:, 2] = columns.target
    filled[:, 3] = columns.temperature.view(np.int32)
    filled[:, 4] = columns.top_k
    filled[:, 5] = columns.top_p.view(np.int32)
    filled[:, 6] = columns.min_p.view(np.int32)
    filled[:, 7:9] = columns.seed.view(np.int32)
    filled[:, 9] = columns.position
    filled[:, 10] = columns.logprobs
