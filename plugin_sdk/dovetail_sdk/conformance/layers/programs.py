"""Programs: shapes agree, padding is inert, the cache grows, and compiling disturbs no step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from dovetail.platform import Program, Shape

from dovetail_sdk.conformance.check import Check, expect
from dovetail_sdk.conformance.context import Context
from dovetail_sdk.conformance.driving import Row, Session, fetch, make_batch
from dovetail_sdk.conformance.numbers import require_close
from dovetail_sdk.conformance.tiny import Tiny, prompt, tolerance

SHAPES = (
    Shape(tokens=12, rows=3, outputs=12, blocks=8),
    Shape(tokens=16, rows=4, outputs=16, blocks=8),
    Shape(tokens=33, rows=7, outputs=33, blocks=9),
    Shape(tokens=64, rows=16, outputs=64, blocks=16),
)


def checks() -> Iterator[Check]:
    """One check per function below, by its name."""
    functions: tuple[Callable[[Context], int | None], ...] = (
        programs_are_at_least_as_large_as_asked,
        shapes_agree,
        a_step_may_fill_its_shape,
        rows_do_not_depend_on_their_neighbours,
        programs_share_the_cache,
        sizes_are_told_before_anything_is_allocated,
        the_cache_grows,
        compiling_beside_steps_changes_nothing,
        models_do_not_share_anything,
    )
    return (Check("programs", function.__name__, function) for function in functions)


def programs_are_at_least_as_large_as_asked(context: Context) -> int:
    """Program.shape covers the shape that was asked for."""
    with Tiny().open(context, context.main) as session:
        for shape in SHAPES:
            made = session.model.compile(shape).shape
            for name in ("tokens", "rows", "outputs", "blocks"):
                expect(getattr(made, name) >= getattr(shape, name), f"asked {shape}, made {made}")
    return len(SHAPES)


def shapes_agree(context: Context) -> int:
    """The same steps on programs of every shape, from a full one to a nearly empty one."""
    config = context.main
    sequences = [prompt(length, seed) for seed, length in enumerate((6, 1, 5))]
    with Tiny().open(context, config) as session, Tiny().oracle(context, config) as oracle:
        wanted = [oracle.whole(tokens, [1, 2, 3]) for tokens in sequences]
        for shape in SHAPES:
            session.program = session.model.compile(shape)
            at = session.need(6)
            rows = [
                Row(tokens, 0, [9 + 3 * index + block for block in range(at)], index + 1)
                for index, tokens in enumerate(sequences)
            ]
            found = session.step(rows)
            require_close(f"{shape}", found, np.concatenate(wanted), tolerance(config))
    return len(SHAPES)


def a_step_may_fill_its_shape(context: Context) -> None:
    """As many tokens, rows, outputs and blocks as the shape has."""
    config = context.main
    length = 3 * config.block_size
    shape = {"tokens": length + 3, "rows": 4, "outputs": length + 3, "blocks": 3}
    with Tiny().open(context, config, **shape) as session, Tiny().oracle(context, config) as oracle:
        tokens = prompt(length)
        rows = [Row(tokens, 0, [4, 2, 7], 1)]
        rows += [Row([slot], 0, [8 + slot], slot) for slot in (2, 3, 4)]
        found = session.step(rows)
        wanted = [oracle.whole(tokens, [1, 2, 3])]
        wanted += [oracle.whole([slot], [1]) for slot in (2, 3, 4)]
        require_close("a full step", found, np.concatenate(wanted), tolerance(config))


def rows_do_not_depend_on_their_neighbours(context: Context) -> int:
    """A row alone, among many, first, last, and in tables that are wider than it needs."""
    config, tokens = context.main, prompt(5)
    with Tiny().open(context, config) as session:
        blocks = [20 + block for block in range(session.need(5))]
        mine = Row(tokens, 0, blocks, 9)
        wanted = session.step([mine])
        for count, index, padding in ((1, 0, 3), (7, 0, 0), (7, 6, 1), (15, 8, 0)):
            rows = [Row([3 + at], 0, [1 + at], 1 + at + (at >= 8)) for at in range(count)]
            rows.insert(index, mine)
            found = session.step(rows, padding=padding)[index : index + 5]
            require_close(f"row {index} of {count + 1}", found, wanted, tolerance(config))
    return 4


def programs_share_the_cache(context: Context) -> None:
    """One program computes the prompt, another goes on, in turns."""
    config = context.main
    tokens = prompt(8)
    with Tiny().open(context, config) as session, Tiny().oracle(context, config) as oracle:
        programs = [session.program, session.model.compile(SHAPES[0])]
        blocks = [5 + block for block in range(session.need(8))]
        parts = []
        for index, (start, end) in enumerate(((0, 5), (5, 6), (6, 7), (7, 8))):
            session.program = programs[index % 2]
            parts.append(session.step([Row(tokens[start:end], start, blocks)]))
        wanted = oracle.whole(tokens, [1, 2, 3])
        require_close("two programs in turns", np.concatenate(parts), wanted, tolerance(config))


def sizes_are_told_before_anything_is_allocated(context: Context) -> None:
    """block_bytes has one positive number per group; workspace grows with the shape."""
    with Tiny(windows=(None, 9)).open(context, context.main) as session:
        sizes = session.model.block_bytes(session.layout)
        expect(len(sizes) == session.groups, f"block_bytes {sizes} for {session.groups} groups")
        expect(all(isinstance(size, int) and size > 0 for size in sizes), f"block_bytes {sizes}")
        small, large = (session.model.workspace(shape) for shape in (SHAPES[0], SHAPES[-1]))
        expect(isinstance(small, int) and 0 <= small <= large, f"workspace {small} and {large}")


def the_cache_grows(context: Context) -> None:
    """Allocated again, larger: ids up to the new end are blocks, a program made before works on."""
    config = context.main
    tokens = prompt(3 * config.block_size)
    with (
        Tiny().open(context, config, num_blocks=8) as session,
        Tiny().oracle(context, config) as oracle,
    ):
        wanted = oracle.whole(tokens, [1, 2, 3])
        require_close("small", session.whole(tokens, [7, 5, 6]), wanted, tolerance(config))
        for count in (30, 90, 12):
            session.allocate(count)
            blocks = [count - 1, 1, count - 2]
            found = session.whole(tokens, blocks)
            require_close(f"{count} blocks", found, wanted, tolerance(config))
        session.program = session.model.compile(SHAPES[2])
        found = session.step([Row(tokens[:5], 0, [3, 4, 5])])
        require_close("compiled afterwards", found, wanted[:5], tolerance(config))


def compiling_beside_steps_changes_nothing(context: Context) -> int:
    """Another thread compiles further shapes while this one steps."""
    config, tokens = context.main, prompt(24)
    steps = 0
    with Tiny().open(context, config) as session, Tiny().oracle(context, config) as oracle:
        wanted = oracle.whole(tokens, list(range(1, 7)))
        blocks = [9 + block for block in range(session.need(24))]
        with ThreadPoolExecutor(1) as threads:
            compiling = threads.submit(_compile_all, session)
            while steps < 24 or not compiling.done():
                past = steps % 24
                found = session.step([Row(tokens[past : past + 1], past, blocks)])
                require_close(f"token {past}", found, wanted[past : past + 1], tolerance(config))
                steps += 1
            programs = compiling.result()
        for program in programs:
            found = fetch(
                program.run(make_batch(session.groups, [Row(tokens[:6], 0, [40, 41])], range(6))),
                "logits",
                range(6),
            )
            require_close(f"{program.shape}", found, wanted[:6], tolerance(config))
    return steps


def _compile_all(session: Session) -> list[Program]:
    return [session.model.compile(shape) for shape in SHAPES]


def models_do_not_share_anything(context: Context) -> None:
    """Two models on one device, with other weights, step in turns with the same block ids and slots."""
    config, tokens = context.main, prompt(6)
    kinds = (Tiny(), Tiny(seed=1))
    with kinds[0].open(context, config) as one, kinds[1].open(context, config) as two:
        blocks = [4 + block for block in range(one.need(6))]
        parts: list[list[np.ndarray]] = [[], []]
        for start, end in ((0, 4), (4, 5), (5, 6)):
            for index, session in enumerate((one, two)):
                parts[index].append(session.step([Row(tokens[start:end], start, blocks)]))
    for kind, found in zip(kinds, parts, strict=True):
        with kind.oracle(context, config) as oracle:
            wanted = oracle.whole(tokens, [1, 2])
            require_close(f"model {kind.seed}", np.concatenate(found), wanted, tolerance(config))
