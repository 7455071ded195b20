"""Which block has the keys and values of which tokens: a tree with one node per published block.

The path from a root spells the tokens. Tokens are compared, never only hashes of them.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

Key = tuple[int, ...]


class Node:
    """A published block. A root has no block (0), no parent and an empty key; a node that was removed has no block.

    key        the block's tokens: S of them, or fewer in a leaf that was a sequence's last block
    children   key -> node
    keys       the children's keys, sorted, so that the longest partial match is a neighbour
    namespace  which root it is under
    name       what the tiers below know it by; empty until they ask
    """

    __slots__ = ("block", "children", "key", "keys", "name", "namespace", "parent")

    def __init__(self, block: int, parent: Node | None, key: Key, namespace: Hashable) -> None:
        self.block = block
        self.parent = parent
        self.key = key
        self.namespace = namespace
        self.name = b""
        self.children: dict[Key, Node] = {}
        self.keys: list[Key] = []


@dataclass(slots=True)
class Match:
    """The longest published beginning of some tokens.

    path    nodes of the blocks that match whole, first to last
    node    the last of them, or the root
    source  a child of it that matches in its first `count` tokens, or None
    """

    path: list[Node]
    node: Node
    source: Node | None = None
    count: int = 0


class PrefixTree:
    """Published blocks of S = block_size tokens. Roots are separate per namespace and come and go as needed."""

    def __init__(self, block_size: int) -> None:
        self.block_size = block_size
        self._roots: dict[Hashable, Node] = {}
        self._nodes: dict[int, Node] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes.values())

    def node_of(self, block: int) -> Node | None:
        """The node of a block, None if it is not published."""
        return self._nodes.get(block)

    def root(self, namespace: Hashable) -> Node:
        root = self._roots.get(namespace)
        if root is None:
            root = self._roots[namespace] = Node(0, None, (), namespace)
        return root

    def match(
        self, namespace: Hashable, tokens: list[int], limit: int, known: Sequence[Node] = ()
    ) -> Match:
        """The longest match, to the token, of at most `limit` tokens.

        known: the path of an earlier match of the same tokens, to go on from what is left of it.
        """
        path = list(known)
        while path and not path[-1].block:
            path.pop()
        size, start = self.block_size, len(path) * self.block_size
        node = path[-1] if path else self.root(namespace)
        while start + size <= limit:
            child = node.children.get(tuple(tokens[start : start + size]))
            if child is None:
                break
            path.append(child)
            node, start = child, start + size
        source, count = nearest(node, tuple(tokens[start : min(start + size, limit)]))
        return Match(path, node, source, count)

    def insert(self, parent: Node, key: Key, block: int) -> Node:
        """Publish a block as a child of parent. Returns the node that was there first, if one was."""
        if parent.parent is None:
            parent = self.root(parent.namespace)  # an empty root is forgotten and made again
        found = parent.children.get(key)
        if found is not None:
            return found
        assert block not in self._nodes, f"block {block} is published already"
        node = Node(block, parent, key, parent.namespace)
        parent.children[key] = self._nodes[block] = node
        insort(parent.keys, key)
        return node

    def remove(self, block: int) -> None:
        """Forget a leaf."""
        node = self._nodes.pop(block)
        parent = node.parent
        assert parent is not None and not node.children, f"block {block} is not a leaf"
        node.block = 0
        del parent.children[node.key]
        parent.keys.pop(bisect_left(parent.keys, node.key))
        if parent.parent is None and not parent.children:
            self._roots.pop(parent.namespace, None)

    def has_prefix(self, parent: Node, key: Key) -> bool:
        """Whether a child of parent begins with key."""
        index = bisect_left(parent.keys, key)
        return index < len(parent.keys) and parent.keys[index][: len(key)] == key

    def check(self) -> None:
        """Assert that nodes, keys and children agree."""
        seen = 0
        for namespace, root in self._roots.items():
            assert root.namespace == namespace and root.parent is None
            stack = [root]
            while stack:
                node = stack.pop()
                assert sorted(node.children) == node.keys, "keys are not the children's"
                for key, child in node.children.items():
                    assert child.key == key and child.parent is node and key
                    assert self._nodes[child.block] is child, "a node is not listed"
                    assert len(key) == self.block_size or not child.children, "a tail has children"
                stack.extend(node.children.values())
                seen += len(node.children)
        assert seen == len(self._nodes), "a node hangs in the air"


def nearest(node: Node, wanted: Key) -> tuple[Node | None, int]:
    """The child that shares the most leading tokens with wanted, and how many; (None, 0) if none shares any.

    Among sorted keys it is next to where wanted would stand.
    """
    best, count = None, 0
    index = bisect_left(node.keys, wanted)
    for key in node.keys[max(0, index - 1) : index + 1]:
        shared = common(key, wanted)
        if shared > count:
            best, count = node.children[key], shared
    return best, count


def common(left: Key, right: Key) -> int:
    """How many leading tokens are equal."""
    for index, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return index
    return min(len(left), len(right))
