"""Who computes which block for others to share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dovetail.cache import Key, Node

if TYPE_CHECKING:
    from .sequence import Sequence


@dataclass(slots=True, eq=False)
class Frontier:
    """A block that a running sequence, the leader, is about to compute, and those who wait for it.

    Followers hold nothing and point at nothing but this: one that held the blocks it had matched could deadlock.
    """

    key: tuple[Node, Key]
    leader: Sequence
    followers: dict[Sequence, None] = field(default_factory=dict)


class Frontiers:
    """At most one leader per (node of the tree, tokens of the next block)."""

    def __init__(self, block_size: int) -> None:
        self._block_size = block_size
        self._by_key: dict[tuple[Node, Key], Frontier] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[Frontier]:
        return iter(self._by_key.values())

    def of(self, node: Node, tokens: list[int], num_blocks: int) -> Frontier | None:
        """Whoever computes the block of tokens that comes after num_blocks blocks, ending at node."""
        if not self._by_key:
            return None
        return self._by_key.get((node, self._key(tokens, num_blocks)))

    def lead(self, sequence: Sequence) -> None:
        """Announce the sequence's next block, if its tokens are known and no one else computes it."""
        key = self._key(sequence.tokens, sequence.published)
        if len(key) < self._block_size or sequence.node is None:
            return
        place = (sequence.node, key)
        if place not in self._by_key:
            sequence.frontier = self._by_key[place] = Frontier(place, sequence)

    def leave(self, sequence: Sequence) -> list[Sequence]:
        """The sequence computes its block no more, or is done with it. Returns who waited, to be asked again."""
        frontier = sequence.frontier
        if frontier is None:
            return []
        sequence.frontier = None
        del self._by_key[frontier.key]
        for follower in frontier.followers:
            follower.awaits = None
        return list(frontier.followers)

    def _key(self, tokens: list[int], num_blocks: int) -> Key:
        start = num_blocks * self._block_size
        return tuple(tokens[start : start + self._block_size])
