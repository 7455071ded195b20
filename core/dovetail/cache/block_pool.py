"""Who has which block. Ids and counts only: what is in a block is the tree's and the device's business."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence


class BlockPool:
    """Blocks 1 .. num_blocks - 1, each free, held by one or more owners, or cached (published, held by no one).

    Block 0 is scrap and never handed out. A block given back by an owner whose steps may still run stays held until
    those steps are acknowledged (the fence). Cached blocks are taken again least recently used first, once no block
    is free or most_cached of them are cached; `on_evict` is told before such a block changes its owner.

    most_cached   cached blocks from which on one of them is taken before a free one: memory is used up no further for
                  what nobody uses
    available     free and cached blocks: what `take` can hand out now
    num_fenced    releases that wait for a step
    acknowledged  the newest step that the device is known to have finished
    """

    def __init__(
        self, num_blocks: int, on_evict: Callable[[int], None], most_cached: int | None = None
    ) -> None:
        self.num_usable = num_blocks - 1
        self.most_cached = num_blocks if most_cached is None else max(1, most_cached)
        self.num_fenced = 0
        self.acknowledged = 0
        self._on_evict = on_evict
        self._free = list(range(num_blocks - 1, 0, -1))
        # An OrderedDict and not a dict: removing the first of a dict again and again is quadratic.
        self._cached: OrderedDict[int, None] = OrderedDict()
        self._holders = [0] * num_blocks
        self._published = bytearray(num_blocks)
        self._fenced: dict[int, list[int]] = {}

    @property
    def available(self) -> int:
        return len(self._free) + len(self._cached)

    @property
    def num_free(self) -> int:
        return len(self._free)

    @property
    def num_cached(self) -> int:
        return len(self._cached)

    @property
    def num_held(self) -> int:
        return self.num_usable - self.available

    def holders(self, block: int) -> int:
        """How many owners the block has, releases that wait for a step included."""
        return self._holders[block]

    def take(self) -> int:
        """A block for one owner. The caller has looked at `available`."""
        if self._free and len(self._cached) < self.most_cached:
            block = self._free.pop()
        else:
            block, _ = self._cached.popitem(last=False)
            self._on_evict(block)
            self._published[block] = 0
        self._holders[block] = 1
        return block

    def hold(self, block: int) -> None:
        """One more owner; revives a cached block."""
        if self._holders[block] == 0:
            del self._cached[block]
        self._holders[block] += 1

    def publish(self, block: int) -> None:
        """The tree knows the block now: it is cached, not freed, when its last owner goes."""
        assert self._holders[block] and not self._published[block]
        self._published[block] = 1

    def release(self, blocks: Sequence[int], after: int = 0) -> None:
        """One owner fewer for each, once step `after` is acknowledged; back to front, so that leaves are evicted first."""
        if after <= self.acknowledged:
            for block in reversed(blocks):
                self._drop(block)
        else:
            self._fenced.setdefault(after, []).extend(reversed(blocks))
            self.num_fenced += len(blocks)

    def acknowledge(self, step: int) -> None:
        """The device is done with every step up to this one."""
        self.acknowledged = step
        for due in sorted(fence for fence in self._fenced if fence <= step):
            blocks = self._fenced.pop(due)
            self.num_fenced -= len(blocks)
            for block in blocks:
                self._drop(block)

    def evict_cached(self) -> None:
        """Free every cached block."""
        while self._cached:
            block, _ = self._cached.popitem(last=False)
            self._on_evict(block)
            self._published[block] = 0
            self._free.append(block)

    def _drop(self, block: int) -> None:
        self._holders[block] -= 1
        assert self._holders[block] >= 0, f"block {block} was released more often than held"
        if self._holders[block]:
            return
        if self._published[block]:
            self._cached[block] = None
        else:
            self._free.append(block)

    def check(self, held: Iterable[int]) -> None:
        """Assert that no block is in two places or lost. held: every block once per owner, waiting releases aside."""
        expected = Counter(held)
        for blocks in self._fenced.values():
            expected.update(blocks)
        free, cached = set(self._free), set(self._cached)
        assert len(free) == len(self._free), "a block is free twice"
        assert not free & cached, "a block is free and cached"
        assert sum(map(len, self._fenced.values())) == self.num_fenced, "fenced releases miscounted"
        num_held = 0
        for block in range(1, self.num_usable + 1):
            holders = self._holders[block]
            assert holders == expected[block], f"block {block}: {holders} != {expected[block]}"
            assert (holders == 0) == (block in free or block in cached), f"block {block} is lost"
            assert block not in free or not self._published[block], f"block {block} free, published"
            num_held += holders > 0
        assert len(free) + len(cached) + num_held == self.num_usable, "free + cached + held"
