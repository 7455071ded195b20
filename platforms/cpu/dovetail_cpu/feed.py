"""A step's arrays on their way into an infer request: checked, flattened and kept in memory that is reused."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import openvino as ov
from dovetail.platform import I32, Batch

from .cache import check_blocks
from .paged import BLOCK_SIZE


@dataclass(frozen=True, slots=True)
class Limits:
    """What a step's numbers must stay within.

    vocabulary  rows of the embedding table, None if the model has none
    num_blocks  per cache group
    """

    vocabulary: int | None
    num_blocks: tuple[int, ...]


class Input:
    """One i32 input of a request, over a buffer that grows and is otherwise reused."""

    def __init__(self, request: ov.InferRequest, name: str, planes: bool = False) -> None:
        self._request = request
        self._name = name
        self._planes = planes
        self._buffer = np.zeros(64, np.int32)
        self._length = -1

    def set(self, numbers: I32) -> None:
        """Copy the numbers in; [n], or [1, n] for an input with planes."""
        length = numbers.size
        if length > len(self._buffer):
            self._buffer = np.zeros(max(length, 2 * len(self._buffer)), np.int32)
            self._length = -1
        self._buffer[:length] = numbers.reshape(-1)
        if length != self._length:
            view = self._buffer[:length]
            shaped = view.reshape(1, length) if self._planes else view
            self._request.set_tensor(self._name, ov.Tensor(shaped, shared_memory=True))
            self._length = length


class Feed:
    """All inputs of one infer request."""

    def __init__(self, request: ov.InferRequest, inputs: tuple[str, ...], groups: int) -> None:
        self._inputs = {name: Input(request, name, name == "positions") for name in inputs}
        self._cached = groups > 0
        if not self._cached:
            return
        for name in ("past_lens", "subsequence_begins"):
            self._inputs[name] = Input(request, name)
        self._tables = [
            (Input(request, f"block_indices.{g}"), Input(request, f"block_indices_begins.{g}"))
            for g in range(groups)
        ]
        self._context = np.zeros((), np.int32)
        request.set_tensor("max_context_len", ov.Tensor(self._context, shared_memory=True))

    def set(self, batch: Batch, tokens: I32, limits: Limits) -> None:
        """Everything the request reads; `tokens` are the batch's with slots resolved. Raises ValueError."""
        check_tokens(batch, tokens, limits.vocabulary)
        given = {
            "tokens": tokens,
            "positions": batch.positions,
            "outputs": batch.outputs,
            "row_starts": batch.row_starts,
            "token_types": batch.token_types,
        }
        for name, numbers in given.items():
            if name in self._inputs:
                if numbers is None:
                    raise ValueError(f"the graph reads {name}, and the step has none")
                self._inputs[name].set(numbers)
        if not self._cached:
            return
        lengths = batch.past + np.diff(batch.row_starts)
        self._inputs["past_lens"].set(batch.past)
        self._inputs["subsequence_begins"].set(batch.row_starts)
        self._context[...] = lengths.max()
        for pair, table, count in zip(self._tables, batch.tables, limits.num_blocks, strict=True):
            indices, begins = flat_table(table, lengths)
            check_blocks(indices, count)
            pair[0].set(indices)
            pair[1].set(begins)


def flat_table(table: I32, lengths: I32) -> tuple[I32, I32]:
    """The blocks that rows of these lengths reach, end to end, and where each row's begin [R + 1].

    table [R, M]; raises ValueError where a row is longer than its table.
    """
    needed = (lengths + (BLOCK_SIZE - 1)) // BLOCK_SIZE
    width = table.shape[1]
    if int(needed.max()) > width:
        raise ValueError(
            f"a row of {int(lengths.max())} tokens needs {int(needed.max())} blocks; its table has {width}"
        )
    begins = np.zeros(len(needed) + 1, np.int32)
    np.cumsum(needed, out=begins[1:])
    return table[np.arange(width) < needed[:, None]], begins


def check_tokens(batch: Batch, tokens: I32, vocabulary: int | None) -> None:
    """Raise ValueError where a step's tokens or outputs are outside of what there is."""
    if not len(tokens) or int(batch.row_starts[-1]) != len(tokens):
        raise ValueError(f"rows end at token {batch.row_starts[-1]} of {len(tokens)}")
    if vocabulary is not None and (int(tokens.min()) < 0 or int(tokens.max()) >= vocabulary):
        raise ValueError(
            f"token ids {int(tokens.min())} to {int(tokens.max())}; the vocabulary has {vocabulary}"
        )
    if batch.outputs.size and int(batch.outputs.max()) >= len(tokens):
        raise ValueError(f"output of token {int(batch.outputs.max())} of {len(tokens)}")
