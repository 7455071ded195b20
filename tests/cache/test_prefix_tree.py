"""The tree against a plain list of what was published."""

import pytest
from dovetail.cache import Node, PrefixTree
from dovetail.cache.prefix_tree import common, nearest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

SIZE = 3
tokens_lists = st.lists(st.integers(0, 1), min_size=1, max_size=14)
salts = st.sampled_from(["", "other"])


def path_of(node: Node) -> list[int]:
    tokens = []
    while node.parent is not None:
        tokens = [*node.key, *tokens]
        node = node.parent
    return tokens


class TreeMachine(RuleBasedStateMachine):
    """Whole token lists are published, block by block; leaves are removed."""

    def __init__(self):
        super().__init__()
        self.tree = PrefixTree(SIZE)
        self.published = {}  # block -> (salt, tokens up to its end)
        self.next_block = 1
        self.earlier = {}  # (salt, tokens) -> path of an earlier match

    @rule(salt=salts, tokens=tokens_lists)
    def publish(self, salt, tokens):
        node = self.tree.root(salt)
        for start in range(0, len(tokens), SIZE):
            key = tuple(tokens[start : start + SIZE])
            if len(key) < SIZE and self.tree.has_prefix(node, key):
                break
            found = self.tree.insert(node, key, self.next_block)
            path = (salt, tuple(tokens[: start + len(key)]))
            if found.block == self.next_block:
                assert path not in self.published.values()
                self.published[found.block] = path
                self.next_block += 1
            assert self.published[found.block] == path
            node = found

    @precondition(lambda self: self.published)
    @rule(data=st.data())
    def remove_a_leaf(self, data):
        leaves = [node.block for node in self.tree if not node.children]
        block = data.draw(st.sampled_from(leaves))
        self.tree.remove(block)
        del self.published[block]

    @rule(salt=salts, tokens=tokens_lists, data=st.data())
    def match(self, salt, tokens, data):
        limit = data.draw(st.integers(0, len(tokens)))
        match = self.tree.match(salt, tokens, limit)
        matched = len(match.path) * SIZE + match.count
        mine = [path for name, path in self.published.values() if name == salt]
        best = max((common(path, tuple(tokens[:limit])) for path in mine), default=0)
        assert matched == best <= limit
        assert path_of(match.node) == tokens[: len(match.path) * SIZE]
        if match.source is not None:
            assert match.source.parent is match.node and match.count > 0
            assert path_of(match.source)[:matched] == tokens[:matched]

    @rule(salt=salts, tokens=tokens_lists)
    def match_on_from_an_earlier_one(self, salt, tokens):
        known = self.earlier.get((salt, tuple(tokens)), [])
        again = self.tree.match(salt, tokens, len(tokens), known)
        assert again == self.tree.match(salt, tokens, len(tokens))
        self.earlier[salt, tuple(tokens)] = again.path

    @invariant()
    def nodes_spell_what_was_published(self):
        self.tree.check()
        assert len(self.tree) == len(self.published)
        for node in self.tree:
            assert self.published[node.block] == (node.namespace, tuple(path_of(node)))


TreeMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=30, deadline=None)
TestTree = TreeMachine.TestCase


@settings(deadline=None)
@given(
    keys=st.lists(st.tuples(*[st.integers(0, 2)] * SIZE), unique=True),
    wanted=st.lists(st.integers(0, 2), max_size=SIZE).map(tuple),
)
def test_nearest_neighbour_has_the_longest_common_beginning(keys, wanted):
    tree = PrefixTree(SIZE)
    root = tree.root("")
    for block, key in enumerate(keys, 1):
        tree.insert(root, key, block)
    child, count = nearest(root, wanted)
    assert count == max((common(key, wanted) for key in keys), default=0)
    assert (child is None) == (count == 0)
    assert child is None or common(child.key, wanted) == count


def test_tree_forgets_empty_roots_and_takes_later_children():
    tree = PrefixTree(2)
    root = tree.root("tenant")
    tree.insert(root, (1, 2), 1)
    tree.remove(1)
    tree.insert(root, (3, 4), 2)  # a sequence may still point at the root that was forgotten
    assert [node.block for node in tree.match("tenant", [3, 4], 2).path] == [2]
    tree.check()


@pytest.mark.defends(
    "prefixes of other tenants",
    "prefixes hang from a root of their own for each salt",
    without=(
        "dovetail.cache.prefix_tree",
        "root = self._roots.get(namespace)",
        'namespace = ""\n        root = self._roots.get(namespace)',
    ),
)
def test_tree_keeps_namespaces_apart():
    tree = PrefixTree(2)
    tree.insert(tree.root("a"), (1, 2), 1)
    assert not tree.match("b", [1, 2, 3], 3).path
    assert tree.match("a", [1, 2, 3], 3).path
