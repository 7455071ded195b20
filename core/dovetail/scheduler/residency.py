"""A sequence's stay in the cache: its slot and blocks, from admission until the last step that has a row of it."""

from __future__ import annotations

from dovetail.cache import KVCache, Match
from dovetail.request import Request

from .line import Line
from .sequence import Sequence
from .slots import NEVER, Slots


class Residency:
    """Moves sequences into and out of slots and blocks.

    Blocks and slot of a sequence that leaves are free for others only once its last step has been acknowledged.
    """

    def __init__(self, cache: KVCache, slots: Slots, line: Line, prefix_caching: bool) -> None:
        self.cache = cache
        self.slots = slots
        self.line = line
        self.prefix_caching = prefix_caching
        self.committed = 0
        self._leaving: dict[int, list[Sequence]] = {}

    # ------------------------------------------------------------------------------------------ coming

    def match(self, sequence: Sequence) -> Match:
        """What of the sequence is in the cache. At least its last token is left to compute, and all there is to score."""
        if not self.prefix_caching:
            return Match([], self.cache.tree.root(namespace(sequence.request)))
        space, limit = namespace(sequence.request), self._limit(sequence)
        match = self.cache.match(space, sequence.tokens, limit, sequence.matched)
        sequence.matched = match.path
        return match

    def fits(self, sequence: Sequence, match: Match, reserved: int) -> bool:
        """Whether there is room for its tokens and one more beside `reserved` blocks.

        A partial match whose source cannot be pinned in the room there is gets dropped from the match.
        """
        pool, path = self.cache.pool, match.path
        positions = min(len(sequence.tokens) + 1, sequence.positions)
        need = self.cache.blocks_for(positions) - len(path) + reserved
        room = pool.available - sum(pool.holders(node.block) == 0 for node in path)
        if match.source is not None and room < need + (pool.holders(match.source.block) == 0):
            match.source, match.count = None, 0
        return room >= need

    def enter(self, sequence: Sequence, match: Match, step: int) -> tuple[int, int] | None:
        """Give it a slot and the matched blocks, and those that the tiers below have.

        Returns the (source, target) of a copy, if one block matched in part.
        """
        sequence.blocks = [node.block for node in match.path]
        self.cache.hold(sequence.blocks)
        self._restore(sequence, match)
        copy = None
        if match.source is not None:
            copy = self._copy(match.source.block, step)
            sequence.blocks.append(copy[1])
        sequence.matched = []
        sequence.published, sequence.node = len(match.path), match.node
        sequence.slot = self.slots.free.pop()
        matched = len(match.path) * self.cache.block_size + match.count
        self._fill_slot(sequence, matched)
        if self.prefix_caching:
            self.line.lead(sequence)
        return copy

    def _restore(self, sequence: Sequence, match: Match) -> None:
        """Lengthen the match by what the tiers below have of it; then a match in part means nothing any more."""
        if self.cache.below is None or not self.prefix_caching:
            return
        start = len(match.path) * self.cache.block_size
        nodes = self.cache.restore(match.node, sequence.tokens, start, self._limit(sequence))
        if nodes:
            match.path = match.path + nodes
            match.node, match.source, match.count = nodes[-1], None, 0
            sequence.blocks += [node.block for node in nodes]

    def _limit(self, sequence: Sequence) -> int:
        """Tokens of it that the cache may provide."""
        return sequence.scored if sequence.scoring else len(sequence.tokens) - 1

    def _copy(self, source: int, step: int) -> tuple[int, int]:
        """A block of one's own to copy into. The source is pinned until the step that copies is acknowledged."""
        self._pin(source, step)
        return source, self.cache.take(1)[0]

    def _pin(self, source: int, step: int) -> None:
        self.cache.hold([source])
        self.cache.release([source], after=step)

    def _fill_slot(self, sequence: Sequence, matched: int) -> None:
        slots, slot, known = self.slots, sequence.slot, len(sequence.tokens)
        slots.planned[slot] = slots.computed[slot] = matched
        slots.total[slot] = slots.known[slot] = known
        slots.last_token[slot] = sequence.tokens[-1]
        slots.draws[slot] = sequence.limit > sequence.num_prompt
        slots.limit[slot] = max(sequence.limit, sequence.num_prompt + 1)
        slots.late[slot] = sequence.late
        slots.unsampled[slot] = 0
        slots.capacity[slot] = len(sequence.blocks) * self.cache.block_size
        slots.full_at[slot] = self._full_at(sequence)
        slots.table[slot, : len(sequence.blocks)] = sequence.blocks

    # ------------------------------------------------------------------------------------------ staying

    def lacks(self, sequence: Sequence, end: int) -> int:
        """Blocks it lacks to have room for `end` positions."""
        return self.cache.blocks_for(end) - len(sequence.blocks)

    def extend(self, sequence: Sequence, count: int) -> None:
        """Give it more blocks; they are available."""
        blocks = self.cache.take(count)
        held = len(sequence.blocks)
        sequence.blocks += blocks
        self.slots.table[sequence.slot, held : held + count] = blocks
        self.slots.capacity[sequence.slot] = (held + count) * self.cache.block_size

    def publish(self, sequence: Sequence, computed: int) -> None:
        """Publish the full blocks of its first `computed` positions. Where an equal one is there, adopt that."""
        size, node = self.cache.block_size, sequence.node
        assert node is not None
        self.line.unlead(sequence)
        while (end := (sequence.published + 1) * size) <= computed:
            own = sequence.blocks[sequence.published]
            node = self.cache.publish(node, tuple(sequence.tokens[end - size : end]), own)
            if node.block != own:
                self._adopt(sequence, own, node.block)
            sequence.published += 1
        sequence.node = node
        self.slots.full_at[sequence.slot] = self._full_at(sequence)
        self.line.lead(sequence)

    def _adopt(self, sequence: Sequence, own: int, other: int) -> None:
        self.cache.hold([other])
        self.cache.release([own], after=self._last_step(sequence))
        sequence.blocks[sequence.published] = other
        self.slots.table[sequence.slot, sequence.published] = other

    def _full_at(self, sequence: Sequence) -> int:
        if not self.prefix_caching:
            return NEVER
        return (sequence.published + 1) * self.cache.block_size

    # ------------------------------------------------------------------------------------------ going

    def publish_tail(self, sequence: Sequence) -> None:
        """Publish the block that it was filling when it finished."""
        start = sequence.published * self.cache.block_size
        tail = tuple(sequence.tokens[start : int(self.slots.computed[sequence.slot])])
        if self.prefix_caching and tail:
            assert sequence.node is not None
            self.cache.publish_tail(sequence.node, tail, sequence.blocks[sequence.published])

    def leave(self, sequence: Sequence) -> None:
        """Give its blocks back, and its slot once no step in flight has a row of it."""
        slot, last_step = sequence.slot, self._last_step(sequence)
        self.line.unlead(sequence)
        self.cache.release(sequence.blocks, after=last_step)
        self.slots.table[slot, : len(sequence.blocks)] = 0
        self.slots.full_at[slot] = NEVER
        sequence.blocks, sequence.node, sequence.published = [], None, 0
        if last_step > self.committed:
            self._leaving.setdefault(last_step, []).append(sequence)
        else:
            self._free_slot(sequence)

    def acknowledge(self, step: int) -> None:
        """The device is done with a step, whatever its tokens say: before its rows are looked at."""
        self.committed = step
        self.cache.acknowledge(step)

    def settle(self, step: int) -> None:
        """Rows up to the step's have been committed: slots whose last row was among them are free."""
        for due in [last for last in self._leaving if last <= step]:
            for sequence in self._leaving.pop(due):
                self._free_slot(sequence)

    def _free_slot(self, sequence: Sequence) -> None:
        self.slots.free.append(sequence.slot)
        sequence.slot = 0

    def _last_step(self, sequence: Sequence) -> int:
        return int(self.slots.last_step[sequence.slot])


def namespace(request: Request) -> tuple[str, ...]:
    """Requests share blocks only where this is equal; adapters will be a second word."""
    return (request.salt,)
