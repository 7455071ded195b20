"""Steps of the null platform, and the tokens drawn from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from dovetail.platform import (
    F32,
    I32,
    Batch,
    LateEdits,
    Pending,
    Program,
    SamplingColumns,
    Shape,
    Ticket,
    Tokens,
)
from numpy.typing import NDArray

from dovetail_sdk.batches import check_batch, check_sampled, copy_of
from dovetail_sdk.sampling.host import empty_tokens

from .tokens import U64, draw_words, mix

if TYPE_CHECKING:
    from .order import Job
    from .state import State


class NullProgram(Program):
    """Runs steps on the model's digests."""

    def __init__(self, model: State, shape: Shape) -> None:
        self.shape = shape
        self._model = model

    def run(self, batch: Batch) -> Pending:
        """Start a step; in strict mode raise ValueError for one that no engine may issue."""
        model = self._model
        if model.strict:
            check_batch(batch, self.shape, model.cache())
            model.check_flight()
            model.calls.check_tokens(batch.tokens)
            batch = copy_of(batch)
        model.calls.runs += 1

        def step() -> U64:
            tokens = model.registers.resolve(batch.tokens)
            return np.asarray(model.digests().contexts(batch, tokens)[batch.outputs])

        job = model.order.issue(step)
        if model.strict:
            model.in_flight.append(job)
        return NullPending(model, job, batch.outputs.size)


class NullPending(Pending):
    """A step: the contexts [N] of its outputs, once it has run."""

    def __init__(self, model: State, step: Job[U64], outputs: int) -> None:
        self._model = model
        self._step = step
        self._outputs = outputs
        self._run = model.calls.runs

    def done(self) -> bool:
        return self._step.done()

    def wait(self) -> None:
        self._step.result()

    def sample(
        self, rows: I32, columns: SamplingColumns, late: LateEdits | None = None
    ) -> Ticket[Tokens]:
        model = self._model
        if model.strict:
            check_sampled(rows, self._outputs)
            model.calls.check_sample(self._run)
            rows, columns, late = rows.copy(), copy_of(columns), copy_of(late)
            model.calls.sampled(columns.slot)

        def draw() -> Tokens:
            tokens = sample(self._step.result()[rows], columns, late, model.vocab_size)
            model.registers.write(columns.slot, tokens.ids)
            return tokens

        return model.order.issue(draw)

    def fetch(self, output: str, rows: I32) -> Ticket[F32]:
        """Logits that are 1 for the next token and 0 otherwise, or numbers in [0, 1) made from the context."""
        model = self._model
        if output not in model.graph.outputs:
            raise ValueError(
                f"the graph has no output {output!r}; it has {list(model.graph.outputs)}"
            )
        width = int(model.graph.values[model.graph.outputs[output]].shape[-1])
        if model.strict:
            check_sampled(rows, self._outputs)
            model.calls.check_fetch(self._run)
        rows = rows.copy()

        def numbers() -> F32:
            contexts = self._step.result()[rows]
            if output == "logits":
                logits = np.zeros((rows.size, width), np.float32)
                logits[np.arange(rows.size), _ids(mix(contexts), width)] = 1
                return logits
            words = np.add.outer(contexts, np.arange(width, dtype=np.uint64))
            return _fraction(mix(words))

        return model.order.issue(numbers)


def sample(
    contexts: U64, columns: SamplingColumns, late: LateEdits | None, vocab_size: int
) -> Tokens:
    """Tokens of n contexts: masks and forbidden ids are kept to, other edits do nothing."""
    alternatives = min(max(0, int(columns.logprobs.max(initial=-1))), vocab_size)
    tokens = empty_tokens(contexts.size, alternatives)
    words = draw_words(contexts, columns.temperature, columns.seed, columns.position)
    tokens.ids[:] = _ids(words, vocab_size)
    if late is not None and (late.rows.size or late.mask_rows.size):
        _keep_to(late, tokens, vocab_size)
    np.copyto(tokens.ids, columns.target, where=columns.target >= 0)
    asked = (columns.target >= 0) | (columns.logprobs >= 0)
    if asked.any():
        own = -1 - 8 * _fraction(mix(contexts + tokens.ids.astype(np.uint64)))
        tokens.logprobs[asked] = own[asked]
        further = np.arange(alternatives, dtype=np.int32)
        given = further < columns.logprobs[:, None]
        tokens.top_ids[given] = ((tokens.ids[:, None] + further) % vocab_size)[given]
        tokens.top_logprobs[given] = (own[:, None] - further)[given]
    return tokens


def _ids(words: U64, vocab_size: int) -> I32:
    return ((words >> np.uint64(8)) % np.uint64(vocab_size)).astype(np.int32)


def _fraction(words: U64) -> F32:
    """In [0, 1)."""
    return (words >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


def _keep_to(late: LateEdits, tokens: Tokens, vocab_size: int) -> None:
    """Move each id that may not be to the next one that may; a row without any is marked as not finite."""
    for row in np.union1d(late.rows, late.mask_rows).tolist():
        allowed: NDArray[np.bool_] = np.ones(vocab_size, np.bool_)
        for mask in late.masks[late.mask_rows == row]:
            bits = np.unpackbits(mask.astype("<u4", copy=False).view(np.uint8), bitorder="little")
            allowed &= bits[:vocab_size].astype(np.bool_)
        allowed[late.ids[(late.rows == row) & (late.addends == -np.inf)]] = False
        if not allowed.any():
            tokens.not_finite[row] = True
            continue
        first = int(tokens.ids[row])
        tokens.ids[row] = (first + int(np.roll(allowed, -first).argmax())) % vocab_size
