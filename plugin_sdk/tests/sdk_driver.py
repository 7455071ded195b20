"""A small engine for tests: random chunks, ragged rows, forks with shared and copied blocks, steps in flight."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from dovetail.graph import CacheGroup
from dovetail.platform import (
    Batch,
    KVLayout,
    LoadedModel,
    Pending,
    Shape,
    Ticket,
    Tokens,
)
from sdk_literal import columns

Step = tuple[list[tuple["Sequence", int]], Pending, Ticket[Tokens]]


@dataclass(eq=False)
class Sequence:
    """One sequence; `issued` tokens are computed or being computed, `tokens` are known."""

    prompt: list[int]
    count: int
    slot: int
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)
    issued: int = 0
    sampled: int = 0
    copy: tuple[int, int] | None = None
    temperature: float = 0.0
    seed: int = 0

    @property
    def generated(self) -> list[int]:
        return self.tokens[len(self.prompt) :]


class Driver:
    """Runs sequences to their end and returns them; every choice comes from `rng`."""

    def __init__(
        self,
        model: LoadedModel,
        groups: tuple[CacheGroup, ...],
        rng: random.Random,
        *,
        block_size: int,
        depth: int = 1,
        form: str = "f32",
        num_blocks: int = 64,
        slots: int = 6,
        budget: int = 40,
    ) -> None:
        self.model, self.rng, self.depth, self.size = model, rng, depth, block_size
        self.groups, self.budget = groups, budget
        self.num_blocks = num_blocks
        model.allocate(KVLayout(block_size, form, groups), (num_blocks,) * len(groups))
        self.program = model.compile(Shape(budget, slots, budget, num_blocks))
        self.free = list(range(1, num_blocks))
        rng.shuffle(self.free)
        self.uses: Counter[int] = Counter()
        self.slots = list(range(1, slots + 1))
        self.running: list[Sequence] = []
        self.flight: deque[Step] = deque()

    def generate(self, prompts: list[tuple[list[int], int]], **sampling: Any) -> list[Sequence]:
        waiting = list(prompts)
        made: list[Sequence] = []
        while waiting or self.running:
            while waiting and self.slots and self.rng.random() < 0.5 and self._room(waiting[0]):
                made.append(self._start(*waiting.pop(0), **sampling))
            rows = list(self._plan())
            if rows:
                self._issue(rows)
            if self.flight and (len(self.flight) >= self.depth or not rows):
                self._commit()
        while self.flight:
            self._commit()
        return made

    def _room(self, prompt: tuple[list[int], int]) -> bool:
        need = -(-(len(prompt[0]) + prompt[1]) // self.size)
        held = sum(-(-(len(s.prompt) + s.count) // self.size) - len(s.blocks) for s in self.running)
        return len(self.free) >= need + held

    def _start(self, prompt: list[int], count: int, **sampling: Any) -> Sequence:
        slot = self.slots.pop(self.rng.randrange(len(self.slots)))
        sequence = Sequence(list(prompt), count, slot, list(prompt), **sampling)
        for other in self.running:
            if other.copy is None and not sequence.issued:
                self._share(sequence, other)
        self.running.append(sequence)
        return sequence

    def _share(self, sequence: Sequence, other: Sequence) -> None:
        """Begin with what another sequence has computed of the same prompt."""
        committed = other.issued - sum(n for rows, *_ in self.flight for s, n in rows if s is other)
        equal = 0
        for ours, theirs in zip(
            sequence.prompt[:-1], other.tokens[: max(0, committed)], strict=False
        ):
            if ours != theirs:
                break
            equal += 1
        full = equal // self.size
        sequence.blocks = other.blocks[:full]
        sequence.issued = full * self.size
        if equal % self.size and self.rng.random() < 0.7:
            block = self.free.pop()
            sequence.copy = (other.blocks[full], block)
            sequence.blocks.append(block)
            sequence.issued = equal
        self.uses.update(sequence.blocks)

    def _plan(self) -> Iterator[tuple[Sequence, int]]:
        left = self.budget
        for sequence in self.rng.sample(self.running, len(self.running)):
            known = len(sequence.prompt) + sequence.sampled
            todo = known - sequence.issued
            if sequence.sampled >= sequence.count or todo < 1 or left < 1:
                continue
            if self.rng.random() < 0.2 and sequence.copy is None:
                continue
            count = self.rng.randint(1, min(todo, left))
            left -= count
            while len(sequence.blocks) * self.size < sequence.issued + count:
                block = self.free.pop()
                self.uses[block] += 1
                sequence.blocks.append(block)
            yield sequence, count

    def _issue(self, rows: list[tuple[Sequence, int]]) -> None:
        tokens, starts, positions, outputs, sampling = [], [0], [], [], []
        for sequence, count in rows:
            for place in range(sequence.issued, sequence.issued + count):
                known = place < len(sequence.tokens)
                tokens.append(sequence.tokens[place] if known else ~sequence.slot)
                positions.append(place)
            starts.append(len(tokens))
            if sequence.issued + count == len(sequence.prompt) + sequence.sampled:
                outputs.append(len(tokens) - 1)
                sampling.append(sequence)
        width = max(len(sequence.blocks) for sequence, _ in rows)
        table = np.zeros((len(rows), width), np.int32)
        copies = []
        for row, (sequence, _) in enumerate(rows):
            table[row, : len(sequence.blocks)] = sequence.blocks
            if sequence.copy:
                copies.append(sequence.copy)
                sequence.copy = None
        groups = len(self.groups)
        batch = Batch(
            tokens=np.array(tokens, np.int32),
            positions=np.array([positions], np.int32),
            row_starts=np.array(starts, np.int32),
            slots=np.array([sequence.slot for sequence, _ in rows], np.int32),
            past=np.array([sequence.issued for sequence, _ in rows], np.int32),
            tables=(table,) * groups,
            copies=(np.array(copies, np.int32).reshape(-1, 2),) * groups,
            outputs=np.array(outputs, np.int32),
        )
        pending = self.program.run(batch)
        count = len(sampling)
        drawn = columns(
            count,
            slot=[s.slot for s in sampling],
            temperature=[s.temperature for s in sampling],
            seed=[[s.seed & 0xFFFFFFFF, s.seed >> 32] for s in sampling] if count else 0,
            position=[len(s.prompt) + s.sampled for s in sampling],
            logprobs=0,
        )
        ticket = pending.sample(np.arange(count, dtype=np.int32), drawn)
        batch.tokens[:] = batch.past[:] = 7777  # the caller's arrays are the caller's again
        batch.tables[0][:] = 7777
        for sequence, count in rows:
            sequence.issued += count
        for sequence in sampling:
            sequence.sampled += 1
        self.flight.append((rows, pending, ticket))
        self.sampling = sampling
        pending.sampling = sampling  # type: ignore[attr-defined]

    def _commit(self) -> None:
        _, pending, ticket = self.flight.popleft()
        result = ticket.result()
        pending.wait()
        assert pending.done() and ticket.done() and not result.not_finite.any()
        for sequence, token, logprob in zip(
            pending.sampling,  # type: ignore[attr-defined]
            result.ids.tolist(),
            result.logprobs.tolist(),
            strict=True,
        ):
            sequence.tokens.append(token)
            sequence.logprobs.append(logprob)
            if len(sequence.generated) == sequence.count:
                self.running.remove(sequence)
                self.slots.append(sequence.slot)
                for block in sequence.blocks:
                    self.uses[block] -= 1
                    if not self.uses[block]:
                        self.free.append(block)
