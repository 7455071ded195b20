"""Conformance cases of the ops of encoders: ragged rows, one token, grouped heads, a short reach, far positions."""

from __future__ import annotations

from collections.abc import Iterator

from .case_data import ONE, RAGGED, Steps, elementwise, variants
from .cases import Case
from .graph import COMPUTE_DTYPES, Attribute

MIXED: Steps = ((5, 1, 33, 16), (130,), (1, 1, 1))
"""Rows of mixed lengths, one long row, rows of one token."""


def embed_positions() -> Iterator[Case]:
    for name, width, offset, position in (("even", 32, 0, 0), ("odd", 5, 2, 0), ("far", 8, 1, 20)):
        for dtype in COMPUTE_DTYPES:
            yield Case(
                op="embed_positions",
                name=name,
                dtype=dtype,
                axes={"C": 64, "E": width},
                attributes={"offset": offset},
                steps=RAGGED,
                position=position,
            )
    yield Case(
        op="embed_positions", name="one_token", dtype="f32", axes={"C": 64, "E": 8}, steps=ONE
    )


def whole_attention() -> Iterator[Case]:
    def case(
        name: str,
        dtype: str = "f32",
        heads: tuple[int, int] = (4, 4),
        widths: tuple[int, int] = (32, 32),
        steps: Steps = MIXED,
        **extra: Attribute,
    ) -> Case:
        return Case(
            op="whole_attention",
            name=name,
            dtype=dtype,
            axes={"H": heads[0], "K": heads[1], "D": widths[0], "Dv": widths[1]},
            attributes={"scale": widths[0] ** -0.5, **extra},
            steps=steps,
        )

    for dtype in COMPUTE_DTYPES:
        yield case("whole", dtype)
        yield case("grouped", dtype, heads=(6, 2), widths=(64, 64))
        yield case("reach", dtype, reach=4)
    yield case("one_token", steps=ONE)
    yield case("one_head", heads=(1, 1), widths=(128, 128))
    yield case("reach_none", reach=0)
    yield case("reach_long", reach=64, steps=((200, 3, 70),))
    yield case("many_rows", steps=(tuple(range(1, 18)), (1,) * 17))
    yield case("scaled", scale=0.5)


def mean_rows() -> Iterator[Case]:
    yield from variants("mean_rows", ("even", "odd"), ({"E": 32}, {"E": 7}))
    yield Case(
        op="mean_rows",
        name="last",
        dtype="f32",
        axes={"E": 16},
        steps=((5, 1, 40), (2, 1, 1)),
        outputs="last",
    )


def tanh() -> Iterator[Case]:
    yield from elementwise("tanh")
