"""The conformance cases of every op: ragged rows, one token, no output at all, odd widths, grouped heads, windows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from .cases import Case
from .graph import COMPUTE_DTYPES, Attribute

Steps = tuple[tuple[int, ...], ...]

ONE: Steps = ((1,),)
RAGGED: Steps = ((5, 1, 9),)
GROWING: Steps = ((5, 1, 33), (1, 1, 1), (0, 7, 1), (3, 1, 1, 2))
"""Prompts, then decoding, then a chunk of a prompt beside decoding, then a new row."""


def variants(
    op: str,
    names: Sequence[str],
    axes: Sequence[Mapping[str, int]],
    attributes: Mapping[str, Attribute] | None = None,
) -> Iterator[Case]:
    """Every dtype over a list of lengths, and in f32 also one token, ragged rows and a step without outputs."""
    for name, lengths in zip(names, axes, strict=True):
        for dtype in COMPUTE_DTYPES:
            yield Case(
                op=op,
                name=name,
                dtype=dtype,
                axes=lengths,
                attributes=attributes or {},
                steps=RAGGED,
            )
    for name, steps in (("one_token", ONE), ("two_steps", ((3, 2), (1, 4)))):
        yield Case(
            op=op, name=name, dtype="f32", axes=axes[0], attributes=attributes or {}, steps=steps
        )
    yield Case(
        op=op,
        name="no_outputs",
        dtype="f32",
        axes=axes[0],
        attributes=attributes or {},
        steps=((4,), (1,)),
        outputs="none",
    )


def embed() -> Iterator[Case]:
    yield from variants(
        "embed",
        ("even", "odd", "one_id"),
        ({"V": 64, "E": 32}, {"V": 77, "E": 5}, {"V": 1, "E": 8}),
    )


def linear() -> Iterator[Case]:
    names = ("square", "odd", "narrow", "wide")
    axes = ({"I": 64, "O": 64}, {"I": 33, "O": 7}, {"I": 128, "O": 1}, {"I": 8, "O": 515})
    yield from variants("linear", names, axes)
    for dtype in COMPUTE_DTYPES:
        yield Case(
            op="linear", name="bias", dtype=dtype, axes={"I": 48, "O": 24}, weights=("bias",)
        )
    yield Case(op="linear", name="heads", dtype="f32", axes={"I": 16, "O": 12}, leading=(3,))


def norms(op: str) -> Iterator[Case]:
    yield from variants(op, ("even", "odd", "one"), ({"W": 64}, {"W": 37}, {"W": 1}), {"eps": 1e-6})
    for dtype in COMPUTE_DTYPES:
        yield Case(
            op=op, name="heads", dtype=dtype, axes={"W": 32}, leading=(4,), attributes={"eps": 1e-5}
        )
    # An eps far above the mean square: shows where it is added.
    yield Case(op=op, name="large_eps", dtype="f32", axes={"W": 16}, attributes={"eps": 10.0})


def rms_norm() -> Iterator[Case]:
    yield from norms("rms_norm")


def layer_norm() -> Iterator[Case]:
    yield from norms("layer_norm")
    for dtype in COMPUTE_DTYPES:
        yield Case(
            op="layer_norm",
            name="bias",
            dtype=dtype,
            axes={"W": 48},
            weights=("bias",),
            attributes={"eps": 1e-5},
        )


def frequencies(pairs: int, theta: float = 10000.0) -> tuple[float, ...]:
    """Radians per token of each pair: theta ** (-i / pairs)."""
    return tuple(theta ** (-index / pairs) for index in range(pairs))


def rope() -> Iterator[Case]:
    for dtype in COMPUTE_DTYPES:
        for name, width, pairs in (("whole", 32, 16), ("partial", 32, 8), ("odd_pairs", 18, 9)):
            for interleaved in (False, True):
                yield Case(
                    op="rope",
                    name=f"{name}_{'interleaved' if interleaved else 'halves'}",
                    dtype=dtype,
                    axes={"H": 3, "D": width},
                    attributes={"frequencies": frequencies(pairs), "interleaved": interleaved},
                    steps=((5, 1, 9), (1, 1, 1)),
                )
    base: dict[str, Attribute] = {"frequencies": frequencies(32, 500000.0)}
    lengths = {"H": 2, "D": 64}
    yield Case(op="rope", name="far", dtype="f32", axes=lengths, attributes=base, position=30000)
    yield Case(
        op="rope", name="factor", dtype="f32", axes=lengths, attributes={**base, "factor": 1.25}
    )
    yield Case(op="rope", name="one_token", dtype="f32", axes=lengths, attributes=base, steps=ONE)


def attends(op: str, inner: bool) -> Iterator[Case]:
    """Cases of attention; `inner`: the op is told kv_heads and value_width, and does not see keys."""

    def case(
        name: str,
        dtype: str = "f32",
        heads: tuple[int, int] = (4, 4),
        widths: tuple[int, int] = (32, 32),
        steps: Steps = GROWING,
        **extra: Attribute,
    ) -> Case:
        attributes: dict[str, Attribute] = {"scale": widths[0] ** -0.5, **extra}
        if inner:
            attributes |= {"kv_heads": heads[1], "value_width": widths[1]}
        axes = {"H": heads[0], "K": heads[1], "D": widths[0], "Dv": widths[1]}
        return Case(op=op, name=name, dtype=dtype, axes=axes, attributes=attributes, steps=steps)

    for dtype in COMPUTE_DTYPES:
        yield case("whole", dtype)
        yield case("grouped", dtype, heads=(6, 2), widths=(64, 64))
        yield case("window", dtype, window=4)
    yield case("one_key_head", heads=(8, 1))
    yield case("one_token", steps=ONE)
    yield case("one_head", heads=(1, 1), widths=(128, 128))
    yield case("long", steps=((130,), (1,), (70,), (1,)))
    yield case("window_one", window=1)
    yield case("window_long", window=40, steps=((130, 3), (1, 1), (30, 1)))
    yield case("many_rows", steps=(tuple(range(1, 18)), (1,) * 17))
    yield case("scaled", scale=0.5)


def kv_write() -> Iterator[Case]:
    for case in attends("kv_write", inner=False):
        if "window" not in case.name:
            yield Case(
                op=case.op, name=case.name, dtype=case.dtype, axes=case.axes, steps=case.steps
            )


def attention() -> Iterator[Case]:
    yield from attends("attention", inner=True)


def attention_write() -> Iterator[Case]:
    yield from attends("attention_write", inner=False)


def activations(op: str) -> Iterator[Case]:
    for activation in ("silu", "gelu", "gelu_tanh", "relu"):
        for dtype in COMPUTE_DTYPES:
            yield Case(
                op=op,
                name=activation,
                dtype=dtype,
                axes={"F": 33},
                attributes={"activation": activation},
                steps=RAGGED,
            )
    for name, leading, steps in (("one_token", (), ONE), ("heads", (3,), RAGGED)):
        yield Case(
            op=op,
            name=name,
            dtype="f32",
            axes={"F": 16},
            leading=leading,
            attributes={"activation": "silu"},
            steps=steps,
        )


def gated_activation() -> Iterator[Case]:
    yield from activations("gated_activation")


def split_gated_activation() -> Iterator[Case]:
    yield from activations("split_gated_activation")


def elementwise(op: str, attributes: Sequence[Mapping[str, Attribute]] = ({},)) -> Iterator[Case]:
    """Ops that keep the shape: "*" is [T, *leading]."""
    for index, values in enumerate(attributes):
        for dtype in COMPUTE_DTYPES:
            for leading in ((32,), (7,), (3, 5)):
                yield Case(
                    op=op,
                    name=f"{'x'.join(map(str, leading))}_{index}",
                    dtype=dtype,
                    leading=leading,
                    attributes=values,
                    steps=RAGGED,
                )
    yield Case(
        op=op, name="one_token", dtype="f32", leading=(16,), attributes=attributes[0], steps=ONE
    )


def activation() -> Iterator[Case]:
    names = ("silu", "gelu", "gelu_tanh", "relu")
    yield from elementwise("activation", [{"activation": name} for name in names])


def add() -> Iterator[Case]:
    yield from elementwise("add")


def mul() -> Iterator[Case]:
    yield from elementwise("mul")


def scale() -> Iterator[Case]:
    yield from elementwise("scale", [{"factor": 0.125}, {"factor": -3.0}])


def soft_cap() -> Iterator[Case]:
    yield from elementwise("soft_cap", [{"cap": 30.0}, {"cap": 0.5}])


def split() -> Iterator[Case]:
    for name, sizes in (("three", (16, 4, 4)), ("odd", (5, 1)), ("whole", (12,))):
        for dtype in COMPUTE_DTYPES:
            yield Case(
                op="split",
                name=name,
                dtype=dtype,
                axes={"W": sum(sizes)},
                attributes={"sizes": sizes},
                steps=RAGGED,
            )
    yield Case(
        op="split",
        name="heads",
        dtype="f32",
        axes={"W": 9},
        leading=(2,),
        attributes={"sizes": (4, 5)},
    )


def reshape() -> Iterator[Case]:
    for dtype in COMPUTE_DTYPES:
        for name, leading, shape in (
            ("heads", (24,), (3, 8)),
            ("flat", (3, 8), (24,)),
            ("odd", (15,), (5, 3)),
        ):
            yield Case(
                op="reshape",
                name=name,
                dtype=dtype,
                leading=leading,
                attributes={"shape": shape},
                steps=RAGGED,
            )


def take_rows() -> Iterator[Case]:
    yield from variants("take_rows", ("even", "odd"), ({"E": 32}, {"E": 7}))
    yield Case(
        op="take_rows",
        name="last",
        dtype="f32",
        axes={"E": 16},
        steps=((5, 1, 9), (1, 1, 1)),
        outputs="last",
    )


def add_rms_norm() -> Iterator[Case]:
    yield from norms("add_rms_norm")
