"""The paged key/value cache as the scheduler sees it: blocks and the prefixes they hold. No numbers, no device."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

from .below import Below
from .block_pool import BlockPool
from .prefix_tree import Key, Match, Node, PrefixTree


class KVCache:
    """A BlockPool and the PrefixTree over its published blocks.

    Whoever holds a node's block holds its parent's too, and owners release back to front; so the least recently used
    cached block is always a leaf.

    below        where evicted blocks go and come back from, if there is such a place
    most_cached  see BlockPool
    """

    def __init__(self, num_blocks: int, block_size: int, most_cached: int | None = None) -> None:
        self.block_size = block_size
        self.below: Below | None = None
        self.tree = PrefixTree(block_size)
        self.pool = BlockPool(num_blocks, self._evict, most_cached)

    @property
    def available(self) -> int:
        """Blocks that can be taken now."""
        return self.pool.available

    @property
    def total(self) -> int:
        """Blocks there are, the scrap block aside."""
        return self.pool.num_usable

    def blocks_for(self, num_tokens: int) -> int:
        """Blocks that this many tokens fill, the last one perhaps in part."""
        return -(-num_tokens // self.block_size)

    def match(
        self, namespace: Hashable, tokens: list[int], limit: int, known: Sequence[Node] = ()
    ) -> Match:
        """The longest published beginning of tokens[:limit]; nothing is held by asking. known: see PrefixTree.match."""
        return self.tree.match(namespace, tokens, limit, known)

    def take(self, count: int) -> list[int]:
        """Blocks for one owner. The caller has looked at `available`."""
        return [self.pool.take() for _ in range(count)]

    def hold(self, blocks: Iterable[int]) -> None:
        """One more owner for each."""
        for block in blocks:
            self.pool.hold(block)

    def release(self, blocks: Sequence[int], after: int = 0) -> None:
        """One owner fewer for each, once step `after` has been acknowledged."""
        self.pool.release(blocks, after)

    def acknowledge(self, step: int) -> None:
        """The device is done with every step up to this one."""
        self.pool.acknowledge(step)

    def publish(self, parent: Node, key: Key, block: int) -> Node:
        """Let others find a full block. The node has another block if an equal one was published before: adopt that."""
        node = self.tree.insert(parent, key, block)
        if node.block == block:
            self.pool.publish(block)
            if self.below is not None:
                self.below.published(node)
        return node

    def publish_tail(self, parent: Node, key: Key, block: int) -> None:
        """The same for a sequence's last, partly filled block, unless what it holds is published already."""
        if key and not self.tree.has_prefix(parent, key):
            self.publish(parent, key, block)

    def restore(self, node: Node, tokens: Sequence[int], start: int, limit: int) -> list[Node]:
        """Bring back blocks that go on from a node with tokens[start:limit]; their nodes, each held by one owner.

        The caller has looked at `available` for all of them.
        """
        nodes: list[Node] = []
        if self.below is None:
            return nodes
        for key, record in self.below.following(node, tokens, start, limit):
            node = self.tree.insert(node, key, self.pool.take())
            self.pool.publish(node.block)
            self.below.arriving(node, record)
            nodes.append(node)
        return nodes

    def clear(self) -> None:
        """Forget every cached block, what is in them too; blocks that are held stay published."""
        below, self.below = self.below, None
        self.pool.evict_cached()
        self.below = below

    def _evict(self, block: int) -> None:
        if self.below is not None:
            node = self.tree.node_of(block)
            assert node is not None
            self.below.leaving(node)
        self.tree.remove(block)

    def check(self, held: Iterable[int]) -> None:
        """Assert the integrity of pool and tree. held: every block once per owner, waiting releases aside."""
        self.pool.check(held)
        self.tree.check()
        for node in self.tree:
            assert node.parent is not None
            if self.pool.holders(node.block) and node.parent.block:
                assert self.pool.holders(node.parent.block), "a held node's parent is not held"
