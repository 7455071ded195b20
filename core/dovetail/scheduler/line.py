"""Who waits, in order, and who waits for a block that another is computing."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

from .frontiers import Frontier, Frontiers
from .sequence import Sequence


def order_of(sequence: Sequence) -> tuple[int, ...]:
    """The sorting key of every list of sequences."""
    return sequence.order


def discard(sequences: list[Sequence], sequence: Sequence) -> None:
    """Take a sequence out of a list sorted by order."""
    index = bisect_left(sequences, sequence.order, key=order_of)
    assert sequences[index] is sequence
    del sequences[index]


class Line:
    """The waiting line. Followers stand beside it until their leader's block is done, or will not be."""

    def __init__(self, block_size: int) -> None:
        self.frontiers = Frontiers(block_size)
        self._standing: list[Sequence] = []
        self.num_followers = 0

    def __len__(self) -> int:
        return len(self._standing) + self.num_followers

    def __iter__(self) -> Iterator[Sequence]:
        """Everyone who waits, followers last."""
        yield from self._standing
        for frontier in self.frontiers:
            yield from frontier.followers

    def standing(self) -> list[Sequence]:
        """Those to be asked, in order; a copy."""
        return list(self._standing)

    def put(self, sequence: Sequence) -> None:
        insort(self._standing, sequence, key=order_of)

    def remove(self, sequence: Sequence) -> None:
        if sequence.awaits is not None:
            del sequence.awaits.followers[sequence]
            sequence.awaits = None
            self.num_followers -= 1
        else:
            discard(self._standing, sequence)

    def follow(self, sequence: Sequence, frontier: Frontier) -> None:
        """Step aside until the frontier moves."""
        discard(self._standing, sequence)
        frontier.followers[sequence] = None
        sequence.awaits = frontier
        self.num_followers += 1

    def lead(self, sequence: Sequence) -> None:
        """The sequence computes its next block for others."""
        self.frontiers.lead(sequence)

    def unlead(self, sequence: Sequence) -> None:
        """It does not any more; its followers are asked again."""
        for follower in self.frontiers.leave(sequence):
            self.num_followers -= 1
            self.put(follower)
