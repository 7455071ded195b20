"""Pool and tree together."""

import pytest
from dovetail.cache import KVCache


def filled(num_blocks: int, tokens: list[int]) -> tuple[KVCache, list[int]]:
    """A cache of blocks of two with the tokens published, and their blocks, held once."""
    cache = KVCache(num_blocks, 2)
    blocks = cache.take(len(tokens) // 2)
    node = cache.tree.root("")
    for index, block in enumerate(blocks):
        node = cache.publish(node, tuple(tokens[2 * index : 2 * index + 2]), block)
    return cache, blocks


def test_released_blocks_are_found_and_revived():
    cache, blocks = filled(8, [1, 2, 3, 4])
    cache.release(blocks)
    assert cache.pool.num_cached == 2
    match = cache.match("", [1, 2, 3, 4, 5], 4)
    assert [node.block for node in match.path] == blocks
    cache.hold(blocks)
    assert cache.pool.num_cached == 0
    cache.check(blocks)


def test_second_publisher_is_told_of_the_first():
    cache, blocks = filled(8, [1, 2])
    own = cache.take(1)[0]
    node = cache.publish(cache.tree.root(""), (1, 2), own)
    assert node.block == blocks[0]
    cache.release([own])
    assert cache.pool.num_free == 6
    cache.check(blocks)


def test_taking_a_cached_block_forgets_its_tokens():
    cache, blocks = filled(3, [1, 2, 3, 4])
    cache.release(blocks)
    taken = cache.take(1)
    assert taken == [blocks[1]]
    assert [node.block for node in cache.match("", [1, 2, 3, 4], 4).path] == [blocks[0]]
    cache.check(taken)


def test_tail_matches_in_part_and_is_not_published_twice():
    cache, blocks = filled(8, [1, 2])
    node = cache.tree.node_of(blocks[0])
    tail = cache.take(1)[0]
    cache.publish_tail(node, (3,), tail)
    match = cache.match("", [1, 2, 3, 9], 3)
    assert match.source.block == tail and match.count == 1
    other = cache.take(1)[0]
    cache.publish_tail(node, (3,), other)
    assert cache.tree.node_of(other) is None
    cache.check([*blocks, tail, other])


def test_clear_forgets_what_nobody_holds():
    cache, blocks = filled(8, [1, 2, 3, 4])
    cache.release(blocks[1:])
    cache.clear()
    assert cache.pool.num_cached == 0 and len(cache.tree) == 1
    cache.check(blocks[:1])


@pytest.mark.defends(
    "prefixes of other tenants",
    "tokens are compared, not their hashes",
    without=(
        "dovetail.cache.prefix_tree",
        "child = node.children.get(tuple(tokens[start : start + size]))",
        "wanted = hash(tuple(tokens[start : start + size]))\n"
        "            child = next((c for key, c in node.children.items() if hash(key) == wanted), None)",
    ),
)
def test_other_tokens_of_the_same_hash_are_not_found():
    modulus = (1 << 61) - 1  # of Python's hashes of integers
    mine, other = [1, 2], [1 + modulus, 2 + modulus]
    assert hash(tuple(mine)) == hash(tuple(other))
    cache, _ = filled(8, mine)
    assert cache.match("", [*mine, 3], 2).path and not cache.match("", [*other, 3], 2).path
