"""Plan -> the arrays of a step. All gathers from columns by slot; only rows of several tokens are visited one by one."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from dovetail.platform import Batch, SamplingColumns
from dovetail.scheduler import Plan, Sequence

I32 = NDArray[np.int32]
Index = NDArray[np.intp]


class SlotParameters:
    """Sampling parameters by slot, written when a sequence gets its slot."""

    def __init__(self, max_num_seqs: int) -> None:
        rows = max_num_seqs + 1
        self.temperature = np.zeros(rows, np.float32)
        self.top_k = np.zeros(rows, np.int32)
        self.top_p = np.ones(rows, np.float32)
        self.min_p = np.zeros(rows, np.float32)
        self.seed = np.zeros((rows, 2), np.uint32)
        self.logprobs = np.full(rows, -1, np.int32)

    def admit(self, sequence: Sequence) -> None:
        """Write a sequence's parameters into its slot."""
        slot, sampling, seed = sequence.slot, sequence.request.sampling, sequence.request.seed
        self.temperature[slot] = sampling.temperature
        self.top_k[slot] = max(sampling.top_k, 0)
        self.top_p[slot] = sampling.top_p
        self.min_p[slot] = sampling.min_p
        self.seed[slot] = (seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF)
        self.logprobs[slot] = -1 if sampling.logprobs is None else sampling.logprobs


def pack(plan: Plan, parameters: SlotParameters) -> tuple[Batch, I32, SamplingColumns]:
    """Arrays of a step, to be called before the scheduler is called again.

    Returns the batch; rows i32, which of its outputs to sample; and how. Outputs are the last tokens of the rows that
    draw, in plan order, then the prompt positions to be scored, as plan.scores says; behind them the last tokens of
    pooled prompts, which are not sampled.
    """
    for sequence in plan.admitted:
        parameters.admit(sequence)
    starts = np.zeros(plan.num_rows + 1, np.int32)
    np.cumsum(plan.counts, out=starts[1:])
    slots = plan.slots.astype(np.int32)
    tables = tuple(gather_table(plan, table) for table in plan.tables)
    outputs = (starts[1:] - 1)[plan.sampling]
    columns = draw_columns(plan, slots, parameters)
    if plan.scores:
        outputs = np.concatenate((outputs, score_outputs(plan, starts)))
        columns = joined(columns, score_columns(plan, parameters))
    sampled = len(outputs)
    if plan.closing and plan.closing[0].request.task != "generate":
        outputs = np.concatenate((outputs, pooled_outputs(plan, starts)))
    batch = Batch(
        tokens=pack_tokens(plan, slots, starts),
        positions=pack_positions(plan, starts)[None],
        row_starts=starts,
        slots=slots,
        past=plan.starts,
        tables=tables,
        copies=plan.copies,
        outputs=outputs,
    )
    return batch, np.arange(sampled, dtype=np.int32), columns


def pooled_outputs(plan: Plan, starts: I32) -> I32:
    """The last tokens of the prompts that end in this step and are pooled, in the order of plan.closing."""
    row_of = {id(sequence): row for row, sequence in enumerate(plan.sequences)}
    rows = [row_of[id(sequence)] for sequence in plan.closing]
    return np.asarray(starts[1:][rows] - 1, np.int32)


def gather_table(plan: Plan, table: I32) -> I32:
    """The rows' blocks [R, M], as wide as the row with the most."""
    size = plan.block_size
    most = -(-int((plan.starts + plan.counts).max()) // size)
    return table[:, :most][plan.slots]


def pack_positions(plan: Plan, starts: I32) -> I32:
    """Position of every token in its sequence, [T]."""
    total = int(starts[-1])
    if total == plan.num_rows:
        return plan.starts
    return np.repeat(plan.starts - starts[:-1], plan.counts) + np.arange(total, dtype=np.int32)


def pack_tokens(plan: Plan, slots: I32, starts: I32) -> I32:
    """Token ids [T]; ~slot where the host does not know the token yet."""
    by_slot = plan.by_slot
    known = by_slot.known[plan.slots]
    last = np.where(plan.starts + plan.counts > known, ~slots, by_slot.last_token[plan.slots])
    if int(starts[-1]) == plan.num_rows and bool((plan.starts >= known - 1).all()):
        return last
    tokens = np.empty(int(starts[-1]), np.int32)
    tokens[starts[1:] - 1] = last
    for row in np.flatnonzero((plan.counts > 1) | (plan.starts < known - 1)).tolist():
        begin, end = int(plan.starts[row]), int(plan.starts[row] + plan.counts[row])
        literal = plan.sequences[row].tokens[begin:end]
        tokens[starts[row] : starts[row] + len(literal)] = literal
    return tokens


def draw_columns(plan: Plan, slots: I32, parameters: SlotParameters) -> SamplingColumns:
    """Of the rows that draw, [n]."""
    rows = plan.sampling
    drawn = plan.slots[rows]
    return SamplingColumns(
        slot=slots[rows],
        target=np.full(len(rows), -1, np.int32),
        temperature=parameters.temperature[drawn],
        top_k=parameters.top_k[drawn],
        top_p=parameters.top_p[drawn],
        min_p=parameters.min_p[drawn],
        seed=parameters.seed[drawn],
        position=(plan.starts + plan.counts)[rows],
        logprobs=parameters.logprobs[drawn],
    )


def score_outputs(plan: Plan, starts: I32) -> I32:
    """Indices into the step's tokens of the prompt positions to score."""
    return np.concatenate(
        [
            np.arange(score.count, dtype=np.int32)
            + (starts[score.row] + score.first - plan.starts[score.row])
            for score in plan.scores
        ]
    ).astype(np.int32)


def score_columns(plan: Plan, parameters: SlotParameters) -> SamplingColumns:
    """Of the prompt positions to score: the target of each is the prompt's next token, and no register is written."""
    counts = [score.count for score in plan.scores]
    slots = np.repeat([plan.slots[score.row] for score in plan.scores], counts)
    targets = [
        token
        for score in plan.scores
        for token in score.sequence.tokens[score.first + 1 : score.first + score.count + 1]
    ]
    wanted = [score.sequence.request.sampling.prompt_logprobs or 0 for score in plan.scores]
    return SamplingColumns(
        slot=np.full(len(targets), -1, np.int32),
        target=np.array(targets, np.int32),
        temperature=parameters.temperature[slots],
        top_k=parameters.top_k[slots],
        top_p=parameters.top_p[slots],
        min_p=parameters.min_p[slots],
        seed=parameters.seed[slots],
        position=np.concatenate(
            [np.arange(s.first + 1, s.first + s.count + 1, dtype=np.int32) for s in plan.scores]
        ),
        logprobs=np.repeat(np.array(wanted, np.int32), counts),
    )


def joined(first: SamplingColumns, second: SamplingColumns) -> SamplingColumns:
    """One after the other."""
    return SamplingColumns(
        **{
            column.name: np.concatenate((getattr(first, column.name), getattr(second, column.name)))
            for column in fields(SamplingColumns)
        }
    )


def select(columns: SamplingColumns, rows: NDArray[np.integer]) -> SamplingColumns:
    """Some rows of the columns, for sampling late rows apart from the others."""
    return SamplingColumns(
        **{column.name: getattr(columns, column.name)[rows] for column in fields(SamplingColumns)}
    )
