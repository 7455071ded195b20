"""More of the cache layer: several layers in a group, block sizes at their limits, the last block, transfers among steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from dovetail.platform import BlockTransfer, CacheForm

from dovetail_sdk.conformance.check import Check, Unsupported
from dovetail_sdk.conformance.context import Config, Context
from dovetail_sdk.conformance.driving import Row, Session
from dovetail_sdk.conformance.numbers import require_close
from dovetail_sdk.conformance.tiny import Tiny, prompt, tolerance


def checks() -> Iterator[Check]:
    """One check per function below, by its name."""
    functions: tuple[Callable[[Context], int | None], ...] = (
        all_layers_of_a_group_are_copied,
        the_last_block_is_a_block,
        block_sizes_at_their_limits,
        transfers_are_in_order_with_steps,
        everything_uses_the_new_cache,
    )
    return (Check("cache", function.__name__, function) for function in functions)


def all_layers_of_a_group_are_copied(context: Context) -> None:
    """In a step and by copy_blocks; the layers hold different numbers."""
    config = context.main
    tokens = prompt(2 * config.block_size, 40)
    past = len(tokens)
    with Tiny().open(context, config) as session, Tiny().oracle(context, config) as oracle:
        session.step([Row(tokens, 0, [5, 6])], [])
        wanted = oracle.whole([*tokens, 3], [1, 2, 3])[-1:]
        found = session.step([Row([3], past, [8, 9, 10])], copies=[(5, 8), (6, 9)])
        require_close("copied in a step", found, wanted, tolerance(config))
        session.model.copy_blocks(0, np.array([5, 6], np.int32), np.array([12, 11], np.int32))
        found = session.step([Row([3], past, [12, 11, 13])])
        require_close("copied by copy_blocks", found, wanted, tolerance(config))


def the_last_block_is_a_block(context: Context) -> int:
    """A row in the last and the first blocks goes on after steps of every size have run beside it."""
    config = context.main
    size = config.block_size
    tokens = prompt(2 * size, 41)
    with Tiny().open(context, config) as session, Tiny().oracle(context, config) as oracle:
        last = session.num_blocks - 1
        session.step([Row(tokens, 0, [last, 1], 1)], [])
        for count in range(1, 8):
            session.step([Row(prompt(count, count), 0, [20, 21], 2)], [])
        wanted = oracle.whole([*tokens, 3], [1, 2, 3])[-1:]
        found = session.step([Row([3], 2 * size, [last, 1, last - 1], 1)])
        require_close("after other steps", found, wanted, tolerance(config))
    return 7


def block_sizes_at_their_limits(context: Context) -> int:
    """Every cache form with its smallest blocks, three of them for an odd number, and its largest."""
    done = 0
    for form in context.capabilities.cache_forms:
        config = next(known for known in context.configs if known.form == form)
        for size in _sizes(form):
            _at_size(context, replace(config, block_size=size))
            done += 1
    return done


def _sizes(form: CacheForm) -> list[int]:
    multiple = form.block_multiple
    largest = form.block_maximum // multiple * multiple
    return sorted({multiple, min(3 * multiple, largest), largest})


def _at_size(context: Context, config: Config) -> None:
    size = config.block_size
    tokens = prompt(min(2 * size + 1, size + 9), 42)
    shape = {"tokens": len(tokens), "rows": 2, "outputs": 4, "blocks": 4, "num_blocks": 6}
    with (
        Tiny().open(context, config, **shape) as session,
        Tiny().oracle(context, config) as oracle,
    ):
        blocks = [4, 2, 5][: session.need(len(tokens))]
        session.step([Row(tokens[:-1], 0, blocks)], [])
        found = session.step([Row(tokens[-1:], len(tokens) - 1, blocks)])
        wanted = oracle.whole(tokens, list(range(1, oracle.need(len(tokens)) + 1)))[-1:]
        require_close(f"{config}", found, wanted, tolerance(config))


def transfers_are_in_order_with_steps(context: Context) -> None:
    """Blocks are read after the step issued before, and overwritten after the step that reads them; nobody waits."""
    config, depth = context.main, context.capabilities.steps_in_flight
    size = config.block_size
    tokens, other = prompt(size, 44), prompt(size, 45)
    with Tiny().open(context, config) as session, Tiny().oracle(context, config) as oracle:
        model = _transfer(session)
        blocks = np.array([5], np.int32)
        out = np.zeros((1, model_bytes(session)), np.uint8)
        first = session.run([Row(tokens, 0, [5])], [])
        ticket = model.read_blocks(0, blocks, out)
        if depth < 2:
            first.wait()
        second = session.run([Row(other, 0, [6], 2)], [])
        ticket.result()
        second.wait()
        model.write_blocks(0, np.array([7], np.int32), out).result()
        found = session.step([Row([3], size, [7, 9])])
        wanted = oracle.whole([*tokens, 3], [1, 2])[-1:]
        require_close("read behind a step", found, wanted, tolerance(config))
        reader = session.run([Row([3], size, [5, 10])])
        logits = reader.fetch("logits", np.array([0], np.int32))
        written = model.write_blocks(0, blocks, np.zeros_like(out))
        require_close("written behind a step", logits.result(), wanted, tolerance(config))
        written.result()


def everything_uses_the_new_cache(context: Context) -> None:
    """After allocate a program made before, copy_blocks and a program made since work on the same blocks."""
    config = context.main
    size = config.block_size
    tokens = prompt(size, 46)
    with Tiny().open(context, config) as session, Tiny().oracle(context, config) as oracle:
        before = session.program
        session.allocate(session.num_blocks)
        session.step([Row(tokens, 0, [5])], [])
        session.model.copy_blocks(0, np.array([5], np.int32), np.array([8], np.int32))
        wanted = oracle.whole([*tokens, 3], [1, 2])[-1:]
        for program in (before, session.model.compile(session.shape)):
            session.program = program
            found = session.step([Row([3], size, [8, 9])])
            require_close("a copy in the new cache", found, wanted, tolerance(config))


def model_bytes(session: Session) -> int:
    """Bytes of a block of the first group."""
    return session.model.block_bytes(session.layout)[0]


def _transfer(session: Session) -> BlockTransfer:
    if not isinstance(session.model, BlockTransfer):
        raise Unsupported("the model does not offer BlockTransfer")
    return session.model
