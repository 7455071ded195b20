"""An adversarial device in memory: its cache really lives in the blocks it is told, and it runs steps as late as it may.

The key/value of a position is a hash of everything before it, so that a block which was overwritten, copied too late,
published too early or filled from another sequence changes every token after it.
"""

import random
from dataclasses import dataclass, field

import numpy as np
from dovetail.platform import Batch, SamplingColumns

MASK = (1 << 64) - 1
VOCAB = 3
STOP = 9


def mix(x: int) -> int:
    x = (x ^ (x >> 31)) * 0x9E3779B97F4A7C15 & MASK
    x = (x ^ (x >> 29)) * 0xBF58476D1CE4E5B9 & MASK
    return x ^ (x >> 32)


def key_value(context: int, token: int, position: int) -> int:
    return mix(context * 31 + token * 1315423911 + position * 2654435761 + 7 & MASK)


def next_token(context: int, seed: int, position: int, edit: int) -> int:
    """What a row draws: depends on all its tokens, its key, the position, and a late edit."""
    x = mix(context ^ mix(seed * 7919 + position * 104729 + edit * 611953 & MASK))
    return STOP if x % 23 == 0 else (x >> 8) % VOCAB


def edit_of(output: list[int]) -> int:
    """Stands for penalties: a number that needs every token before to be known."""
    value = 1
    for token in output:
        value = mix(value * 31 + token)
    return value & 0xFFFF


def expected(prompt, max_tokens, stop_ids, min_tokens, seed, late) -> list[int]:
    """The tokens a request must get, whatever happens around it."""
    context, output = 0, []
    for position, token in enumerate(prompt):
        context = context + key_value(context, token, position) & MASK
    while len(output) < max_tokens:
        position = len(prompt) + len(output)
        token = next_token(context, seed, position, edit_of(output) if late else 0)
        output.append(token)
        if token in stop_ids and len(output) >= min_tokens:
            break
        context = context + key_value(context, token, position) & MASK
    return output


@dataclass(eq=False)
class Copy:
    step: int
    source: int
    target: int


@dataclass(eq=False)
class Forward:
    """One row's forward pass. tokens: ids, or ~slot. outputs: output number -> offset of its token in the row."""

    step: int
    slot: int
    past: int
    tokens: list[int]
    table: list[int]
    outputs: dict[int, int]


@dataclass(eq=False)
class Sample:
    step: int
    slot: int
    output: int
    target: int
    seed: int
    position: int
    edit: int


@dataclass
class Step:
    number: int
    contexts: dict[int, int] = field(default_factory=dict)
    results: dict[int, int] = field(default_factory=dict)


class Device:
    """strict: rows and copies of all steps in flight run in any order, except that those of one slot keep theirs and a
    row waits for its own step's copies into its table. Otherwise everything runs in the order issued, but late."""

    def __init__(self, num_blocks: int, block_size: int, slots: int, strict: bool, rng) -> None:
        self.size, self.strict, self.rng = block_size, strict, rng
        self.memory = [[0] * block_size for _ in range(num_blocks)]
        self.registers: list[int | None] = [None] * (slots + 1)
        self.queue: list[Copy | Forward | Sample] = []
        self.steps: dict[int, Step] = {}

    def run(self, number: int, batch: Batch) -> None:
        self.steps[number] = Step(number)
        assert 0 not in batch.slots and len(set(batch.slots.tolist())) == len(batch.slots)
        for source, target in batch.copies[0].tolist():
            self.queue.append(Copy(number, source, target))
        for row, slot in enumerate(batch.slots.tolist()):
            begin, end = batch.row_starts[row : row + 2].tolist()
            past, table = int(batch.past[row]), batch.tables[0][row].tolist()
            assert end > begin and batch.positions[0, begin:end].tolist() == list(
                range(past, past + end - begin)
            )
            used = -(-(past + end - begin) // self.size)
            assert all(table[:used]), "a row uses the scrap block"
            assert len(set(table[:used])) == used
            outputs = {
                n: at - begin for n, at in enumerate(batch.outputs.tolist()) if begin <= at < end
            }
            tokens = batch.tokens[begin:end].tolist()
            self.queue.append(Forward(number, slot, past, tokens, table[:used], outputs))

    def sample(self, number: int, rows, columns: SamplingColumns, edits: dict[int, int]) -> None:
        for index, output in enumerate(rows.tolist()):
            low, high = columns.seed[index].tolist()
            self.queue.append(
                Sample(
                    number,
                    int(columns.slot[index]),
                    output,
                    int(columns.target[index]),
                    high << 32 | low,
                    int(columns.position[index]),
                    edits.get(output, 0),
                )
            )

    def lose(self) -> None:
        """Everything in the cache and under way is gone."""
        self.queue.clear()
        self.steps.clear()
        self.registers = [None] * len(self.registers)
        self.memory = [[self.rng.randrange(MASK) for _ in row] for row in self.memory]

    def tick(self, count: int) -> None:
        for _ in range(count):
            if not self.queue:
                return
            index = self.rng.randrange(len(self.queue)) if self.strict else 0
            if not self.strict or self._ready(index):
                self._execute(self.queue.pop(index))

    def wait(self, number: int, count: int) -> np.ndarray:
        """Run until the step is done, and return its `count` results."""
        while any(work.step == number for work in self.queue):
            self.tick(1)
        results = self.steps.pop(number).results
        return np.array([results[n] for n in range(count)], np.int32)

    def _ready(self, index: int) -> bool:
        work = self.queue[index]
        if isinstance(work, Copy):
            return True
        for earlier in self.queue[:index]:
            if isinstance(earlier, Copy):
                if (
                    isinstance(work, Forward)
                    and earlier.step == work.step
                    and earlier.target in work.table
                ):
                    return False
            elif earlier.slot == work.slot or (
                earlier.step == work.step
                and isinstance(work, Sample)
                and isinstance(earlier, Forward)
            ):
                return False
        return True

    def _execute(self, work) -> None:
        if isinstance(work, Copy):
            self.memory[work.target] = list(self.memory[work.source])
        elif isinstance(work, Forward):
            self._forward(work)
        else:
            step = self.steps[work.step]
            context = step.contexts[work.output]
            if work.target >= 0:
                step.results[work.output] = score(context, work.target)
                assert work.slot == -1
            else:
                token = next_token(context, work.seed, work.position, work.edit)
                step.results[work.output] = self.registers[work.slot] = token

    def _forward(self, work: Forward) -> None:
        context, size = 0, self.size
        for p in range(work.past):
            context += self.memory[work.table[p // size]][p % size]
        context &= MASK
        contexts = []
        for offset, token in enumerate(work.tokens):
            if token < 0:
                assert ~token == work.slot
                token = self.registers[work.slot]
                assert token is not None
            p = work.past + offset
            value = key_value(context, token, p)
            self.memory[work.table[p // size]][p % size] = value
            context = context + value & MASK
            contexts.append(context)
        for output, offset in work.outputs.items():
            self.steps[work.step].contexts[output] = contexts[offset]


def score(context: int, target: int) -> int:
    """Stands for a log-probability."""
    return mix(context * 5 + target) & 0xFFFFF


def expected_scores(prompt: list[int]) -> list[int]:
    context, scores = 0, []
    for position, token in enumerate(prompt[:-1]):
        context = context + key_value(context, token, position) & MASK
        scores.append(score(context, prompt[position + 1]))
    return scores


def new_rng(seed: int) -> random.Random:
    return random.Random(seed)
