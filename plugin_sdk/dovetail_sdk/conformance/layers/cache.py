"""Cache: blocks in any order, shared, copied, moved, and full of someone else's numbers before.

Every check runs in every compute dtype and cache form that the device offers, on a decoder whose two layers are in two
cache groups: one sees everything, one has a window a little longer than a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from dovetail.platform import F32, BlockTransfer

from dovetail_sdk.conformance.check import Check, Failed, Unsupported, expect
from dovetail_sdk.conformance.context import Config, Context
from dovetail_sdk.conformance.driving import Guard, Row, Session
from dovetail_sdk.conformance.numbers import generator, require_close
from dovetail_sdk.conformance.tiny import POISON, Tiny, prompt, tolerance

from . import cache_limits

Body = Callable[["Bench"], None]


class Bench:
    """A decoder on the platform, what the reference says about any sequence, and how near that must be."""

    def __init__(self, session: Session, oracle: Session, allowed: float) -> None:
        self.session, self.oracle, self.allowed = session, oracle, allowed
        self.size = session.block_size

    def wanted(self, tokens: list[int]) -> F32:
        """Logits [T, V] of a sequence from its beginning, by the reference."""
        blocks = range(1, self.oracle.need(len(tokens)) + 1)
        return self.oracle.whole(tokens, list(blocks))

    def check(self, what: str, found: F32, tokens: list[int], past: int = 0) -> None:
        """Failed unless logits are those of the tokens from `past` on."""
        require_close(what, found, self.wanted(tokens)[past:], self.allowed)


def checks() -> Iterator[Check]:
    """One check per function below, by its name."""
    bodies: tuple[Body, ...] = (
        tables_in_any_order,
        chunks_end_anywhere,
        groups_have_tables_of_their_own,
        rows_share_blocks,
        copies_in_a_step_come_before_its_rows,
        a_partly_equal_block_is_copied_and_extended,
        copy_blocks_copies_one_group,
        stale_blocks_do_not_leak,
        poison_stays_in_its_row,
        neighbouring_blocks_are_untouched,
        a_block_is_used_again_by_the_next_step,
        padding_in_tables_is_scrap,
        blocks_move_through_host_memory,
        reading_blocks_is_as_of_the_call,
    )
    for body in bodies:
        yield Check("cache", body.__name__, partial(in_every_config, body))
    yield from cache_limits.checks()


def in_every_config(body: Body, context: Context) -> int:
    """Run a check in every configuration; a Failed says which one."""
    for config in context.configs:
        tiny = tiny_for(config)
        with tiny.open(context, config) as session, tiny.oracle(context, config) as oracle:
            try:
                body(Bench(session, oracle, tolerance(config)))
            except Failed as fault:
                raise Failed(f"{config}: {fault}") from None
    return len(context.configs)


def tiny_for(config: Config) -> Tiny:
    """Two cache groups; the window ends within a block."""
    return Tiny(windows=(None, config.block_size + 3))


def tables_in_any_order(bench: Bench) -> None:
    """Rows of several lengths at once, their blocks shuffled over the cache."""
    lengths = (3 * bench.size + 2, 1, bench.size, 2 * bench.size - 1)
    ids = (generator("tables").permutation(30) + 1).tolist()
    sequences = [prompt(length, seed) for seed, length in enumerate(lengths)]
    rows, at = [], 0
    for slot, tokens in enumerate(sequences, 1):
        need = bench.session.need(len(tokens))
        rows.append(Row(tokens, 0, ids[at : at + need], slot))
        at += need
    found = bench.session.step(rows)
    start = 0
    for tokens in sequences:
        bench.check(f"row of {len(tokens)} tokens", found[start : start + len(tokens)], tokens)
        start += len(tokens)


def chunks_end_anywhere(bench: Bench) -> None:
    """Before, at and after a block's boundary, and token by token."""
    s = bench.size
    tokens, blocks = prompt(3 * s + 2, 5), [7, 3, 12, 5]
    ends = [0, s - 1 or 1, s, s + 1, 2 * s + 1, 3 * s, 3 * s + 1, 3 * s + 2]
    ends = sorted(set(ends))
    parts = [
        bench.session.step([Row(tokens[a:b], a, blocks)])
        for a, b in zip(ends, ends[1:], strict=False)
    ]
    bench.check(f"chunks ending at {ends[1:]}", np.concatenate(parts), tokens)


def groups_have_tables_of_their_own(bench: Bench) -> None:
    """The same row has other blocks in the other group."""
    tokens = prompt(2 * bench.size + 1, 6)
    blocks = [[3, 9, 4], [8, 2, 6]]
    first = bench.session.step([Row(tokens[:-1], 0, blocks)])
    second = bench.session.step([Row(tokens[-1:], len(tokens) - 1, blocks)])
    bench.check("a table per group", np.concatenate([first, second]), tokens)


def rows_share_blocks(bench: Bench) -> None:
    """Two rows of one step read the same full blocks and go on differently."""
    s = bench.size
    shared = prompt(2 * s, 7)
    bench.session.step([Row(shared, 0, [11, 4])], [])
    one, two = prompt(3, 8), prompt(4, 9)
    found = bench.session.step([Row(one, 2 * s, [11, 4, 20], 1), Row(two, 2 * s, [11, 4, 17], 2)])
    bench.check("first sharer", found[:3], shared + one, 2 * s)
    bench.check("second sharer", found[3:], shared + two, 2 * s)


def copies_in_a_step_come_before_its_rows(bench: Bench) -> None:
    """The row reads the copy, and the source is as it was: another row goes on with it in the same step."""
    s = bench.size
    tokens = prompt(s + max(1, s // 2), 10)
    bench.session.step([Row(tokens, 0, [5, 6])], [])
    past = len(tokens)
    one, two = [3], [4]
    rows = [Row(one, past, [5, 13], 1), Row(two, past, [5, 6], 2)]
    found = bench.session.step(rows, copies=[(6, 13)])
    bench.check("the row with the copy", found[:1], tokens + one, past)
    bench.check("the row with the source", found[1:], tokens + two, past)


def a_partly_equal_block_is_copied_and_extended(bench: Bench) -> None:
    """Of a copied block only the beginning is the row's; the rest is overwritten, chunk by chunk."""
    s = bench.size
    tokens = prompt(2 * s, 11)
    equal = s + s // 2
    other = tokens[:equal] + prompt(s - s // 2 + 1, 12)
    bench.session.step([Row(tokens, 0, [3, 4])], [])
    rows = [Row(other[equal:], equal, [3, 14, 9])]
    bench.check("extended", bench.session.step(rows, copies=[(4, 14)]), other, equal)
    more = bench.session.step([Row([5], len(tokens), [3, 4, 21])])
    bench.check("the source afterwards", more, [*tokens, 5], len(tokens))


def copy_blocks_copies_one_group(bench: Bench) -> None:
    """A copy in one group leaves the other as it was; several pairs at once."""
    s, session = bench.size, bench.session
    tokens = prompt(2 * s, 13)
    session.step([Row(tokens, 0, [[3, 4], [3, 4]])], [])
    guard = Guard()
    sources, targets = guard.array("sources", [3, 4]), guard.array("targets", [9, 10])
    session.model.copy_blocks(1, sources, targets)
    guard.release()
    found = session.step([Row([6], 2 * s, [[3, 4, 5], [9, 10, 11]])])
    bench.check("copied in group 1 only", found, [*tokens, 6], 2 * s)
    other = prompt(2 * s, 14)
    session.step([Row(other, 0, [[9, 10], [3, 4]])], [])
    session.model.copy_blocks(0, np.array([9, 10], np.int32), np.array([15, 16], np.int32))
    found = session.step([Row([7], 2 * s, [[15, 16, 17], [3, 4, 5]])])
    bench.check("copied in group 0 only", found, [*other, 7], 2 * s)


def stale_blocks_do_not_leak(bench: Bench) -> None:
    """Blocks full of NaN are used again; none of it is read, in chunks or beside other rows."""
    s = bench.size
    everything = list(range(1, 9))
    for _ in range(2):
        bench.session.step([Row([POISON] * (4 * s), 0, everything[:4], 1)], [])
        bench.session.step([Row([POISON] * (4 * s), 0, everything[4:], 1)], [])
    tokens, blocks = prompt(3 * s + 1, 15), [6, 2, 8, 3]
    parts = []
    for start, end in ((0, 1), (1, s + 1), (s + 1, 3 * s + 1)):
        rows = [Row(tokens[start:end], start, blocks, 1)]
        if start:
            rows.append(Row([9], 0, [5], 2))
        parts.append(bench.session.step(rows)[: end - start])
    bench.check("over stale blocks", np.concatenate(parts), tokens)


def poison_stays_in_its_row(bench: Bench) -> None:
    """A sequence of NaN changes nothing in the rows beside it."""
    tokens = prompt(bench.size + 2, 16)
    rows = [
        Row([POISON] * 3, 0, [7], 1),
        Row(tokens, 0, [3, 9], 2),
        Row([POISON] * (bench.size + 1), 0, [8, 2], 3),
    ]
    found = bench.session.step(rows)
    bench.check("between poisoned rows", found[3 : 3 + len(tokens)], tokens)
    expect(np.isnan(found[:3]).any(axis=1).all(), "the poisoned row has finite logits")


def neighbouring_blocks_are_untouched(bench: Bench) -> None:
    """Rows whose blocks lie between another row's write all of theirs, and the other goes on."""
    s = bench.size
    kept, blocks = prompt(3 * s - 1, 17), [2, 4, 6]
    bench.session.step([Row(kept, 0, blocks, 1)], [])
    for seed, length in enumerate((3 * s, 2 * s + 1, 1)):
        bench.session.step([Row(prompt(length, seed), 0, [3, 5, 7], 2)], [])
    bench.session.step([Row(prompt(s, 3), 0, [1], 2), Row(prompt(s, 4), 0, [3], 3)], [])
    found = bench.session.step([Row([8, 9], len(kept), [*blocks, 8], 1)])
    bench.check("between written blocks", found, [*kept, 8, 9], len(kept))


def a_block_is_used_again_by_the_next_step(bench: Bench) -> None:
    """A block that one row gave back is written by the next step, issued at once; the first result stands."""
    s, session = bench.size, bench.session
    first, second = prompt(s + 1, 18), prompt(s + 1, 19)
    found = [
        session.step([Row(first, 0, [4, 5], 1)]),
        session.step([Row(second, 0, [5, 4], 1)]),
        session.step([Row(first, 0, [4, 5], 1)]),
    ]
    for what, logits, tokens in zip(("1", "2", "3"), found, (first, second, first), strict=True):
        bench.check(f"use {what} of the blocks", logits, tokens)


def padding_in_tables_is_scrap(bench: Bench) -> None:
    """Zeros behind a row's blocks are never read, whatever block 0 holds."""
    s = bench.size
    short, long = prompt(2, 20), prompt(2 * s + 1, 21)
    rows = [Row(short, 0, [3], 1), Row(long, 0, [5, 6, 7], 2)]
    found = bench.session.step(rows, padding=2)
    bench.check("a short row", found[:2], short)
    bench.check("a long row", found[2:], long)
    more = [Row([4], 2, [3], 1), Row([5], len(long), [5, 6, 7], 2)]
    found = bench.session.step(more, padding=1)
    bench.check("a short row again", found[:1], [*short, 4], 2)
    bench.check("a long row again", found[1:], [*long, 5], len(long))


def blocks_move_through_host_memory(bench: Bench) -> None:
    """Out of one place and into another; bytes are what block_bytes says."""
    s, session = bench.size, bench.session
    model = transfer(session)
    tokens = prompt(2 * s, 22)
    session.step([Row(tokens, 0, [5, 6])], [])
    for group, width in enumerate(session.model.block_bytes(session.layout)):
        guard = Guard()
        out = guard.out("out", (2, width), np.uint8)
        model.read_blocks(group, np.array([5, 6], np.int32), out).result()
        guard.check()
        data = guard.array("data", out, np.uint8)
        ticket = model.write_blocks(group, np.array([12, 11], np.int32), data)
        guard.release()
        ticket.result()
    found = session.step([Row([8], 2 * s, [12, 11, 3])])
    bench.check("after the move", found, [*tokens, 8], 2 * s)


def reading_blocks_is_as_of_the_call(bench: Bench) -> None:
    """A step issued afterwards overwrites the blocks; what was read is the old content."""
    s, session = bench.size, bench.session
    model = transfer(session)
    tokens, other = prompt(s, 23), prompt(s, 24)
    session.step([Row(tokens, 0, [5])], [])
    groups = session.model.block_bytes(session.layout)
    outs = [np.zeros((1, width), np.uint8) for width in groups]
    block = np.array([5], np.int32)
    tickets = [model.read_blocks(group, block, out) for group, out in enumerate(outs)]
    session.step([Row(other, 0, [5])], [])
    for ticket in tickets:
        ticket.result()
    for group, out in enumerate(outs):
        model.write_blocks(group, np.array([7], np.int32), out).result()
    bench.check("read before", session.step([Row([3], s, [7, 9])]), [*tokens, 3], s)


def transfer(session: Session) -> BlockTransfer:
    """The model as a BlockTransfer; Unsupported if it is none."""
    if not isinstance(session.model, BlockTransfer):
        raise Unsupported("the model does not offer BlockTransfer")
    return session.model
