"""The pool against a plain model of it: every block is in one place, and goes where it should."""

import pytest
from dovetail.cache import BlockPool
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

NUM_BLOCKS = 9


class PoolMachine(RuleBasedStateMachine):
    """Owners take, share, publish and release blocks; steps are launched and acknowledged."""

    def __init__(self):
        super().__init__()
        self.evicted = []
        self.pool = BlockPool(NUM_BLOCKS, self.evicted.append)
        self.most_cached = NUM_BLOCKS
        self.owners = {}  # block -> how many owners, none waiting
        self.published = set()
        self.cached = []  # in the order they will be evicted
        self.fenced = []  # (step, block) in order of release
        self.launched = 0

    @initialize(most_cached=st.integers(1, NUM_BLOCKS))
    def limit(self, most_cached):
        self.most_cached = most_cached
        self.pool = BlockPool(NUM_BLOCKS, self.evicted.append, most_cached)

    @precondition(lambda self: self.pool.available)
    @rule()
    def take(self):
        was_free = self.pool.num_free and len(self.cached) < self.most_cached
        self.evicted.clear()
        block = self.pool.take()
        assert 1 <= block < NUM_BLOCKS and block not in self.owners
        if was_free:
            assert not self.evicted and block not in self.published
        else:
            assert self.evicted == [block] == [self.cached.pop(0)]
            self.published.discard(block)
        self.owners[block] = 1

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def share(self, data):
        block = data.draw(st.sampled_from(sorted(self.owners)))
        self.pool.hold(block)
        self.owners[block] += 1

    @precondition(lambda self: self.cached)
    @rule(data=st.data())
    def revive(self, data):
        block = data.draw(st.sampled_from(self.cached))
        self.pool.hold(block)
        self.cached.remove(block)
        self.owners[block] = 1

    @precondition(lambda self: set(self.owners) - self.published)
    @rule(data=st.data())
    def publish(self, data):
        block = data.draw(st.sampled_from(sorted(set(self.owners) - self.published)))
        self.pool.publish(block)
        self.published.add(block)

    def _releasable(self):
        waiting = [block for _, block in self.fenced]
        return [block for block in self.owners if self.owners[block] > waiting.count(block)]

    @precondition(lambda self: self._releasable())
    @rule(data=st.data(), ahead=st.integers(0, 2))
    def release(self, data, ahead):
        held = st.sampled_from(sorted(self._releasable()))
        blocks = data.draw(st.lists(held, min_size=1, max_size=4, unique=True))
        self.pool.release(blocks, after=self.pool.acknowledged + ahead)
        for block in reversed(blocks):
            if ahead:
                self.fenced.append((self.pool.acknowledged + ahead, block))
            else:
                self._drop(block)

    @rule()
    def acknowledge(self):
        step = self.pool.acknowledged + 1
        self.pool.acknowledge(step)
        for _, block in [entry for entry in self.fenced if entry[0] <= step]:
            self._drop(block)
        self.fenced = [entry for entry in self.fenced if entry[0] > step]

    @rule()
    def clear(self):
        self.pool.evict_cached()
        self.published -= set(self.cached)
        self.cached.clear()

    def _drop(self, block):
        self.owners[block] -= 1
        if not self.owners[block]:
            del self.owners[block]
            if block in self.published:
                self.cached.append(block)

    @invariant()
    def every_block_is_in_one_place(self):
        pool = self.pool
        waiting = [block for _, block in self.fenced]
        held = [block for block, count in self.owners.items() for _ in range(count)]
        for block in waiting:
            held.remove(block)
        pool.check(held)
        assert pool.num_held == len(self.owners)
        assert pool.num_cached == len(self.cached)
        assert pool.num_free + pool.num_cached + pool.num_held == pool.num_usable


PoolMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestPool = PoolMachine.TestCase


def test_pool_never_hands_out_the_scrap_block():
    pool = BlockPool(4, lambda block: None)
    assert sorted(pool.take() for _ in range(3)) == [1, 2, 3]
    assert pool.available == 0


def test_pool_release_waits_for_its_step():
    pool = BlockPool(3, lambda block: None)
    blocks = [pool.take(), pool.take()]
    pool.release(blocks, after=2)
    pool.acknowledge(1)
    assert pool.available == 0 and pool.num_fenced == 2
    pool.acknowledge(2)
    assert pool.available == 2 and pool.num_fenced == 0


def test_pool_evicts_the_end_of_a_sequence_before_its_beginning():
    evicted = []
    pool = BlockPool(4, evicted.append)
    blocks = [pool.take() for _ in range(3)]
    for block in blocks:
        pool.publish(block)
    pool.release(blocks)
    assert [pool.take() for _ in range(3)] == evicted == blocks[::-1]


def test_pool_refuses_a_release_too_many():
    pool = BlockPool(3, lambda block: None)
    block = pool.take()
    pool.release([block])
    with pytest.raises(AssertionError, match="more often than held"):
        pool.release([block])
