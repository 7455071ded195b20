"""Which op cases there are: the ops' own, in every dtype, and generated ones with lengths drawn at random.

Every case is computed for several kinds of numbers, from one load: the tables that inputs are looked up in have a range
of token ids for each kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from dovetail.graph import (
    BF16,
    COMPUTE_DTYPES,
    F16,
    F32,
    FP8,
    INT8,
    OPS,
    Attribute,
    Case,
    WeightForm,
    cases,
)

CACHE_FORMS = ("f32", "bf16", "f16", "u8")
"""Forms with rows of their own in the support matrix; any other that a device offers is checked in the cache layer."""

DENSE = (F32, BF16, F16)
GROUPS = (32, 64, 128)
WEIGHT_FORMS = (*DENSE, INT8, FP8, *(WeightForm("int4_group", group=group) for group in GROUPS))

MATRICES = {"linear": {"weight": "I"}, "mixture": {"gate_up": "E", "down": "F"}}
"""Op -> its weights that come in every form, and the axis of their inputs."""

KINDS = ("unit", "tiny", "large", "mixed", "special")
"""unit: normal numbers; tiny and large: times a factor; mixed: tokens of all three; special: NaN, and infinities where
the op keeps them."""
RANGES = ("unit", "tiny", "large", "special")
IDS_PER_KIND = 61

SPECIAL_CELLS = frozenset({"embed", "reshape", "split", "take_rows", "add", "mul", "scale"})
"""Ops that must agree on NaN and infinities number by number."""
SPECIAL_ROWS = frozenset({"linear", "rms_norm", "layer_norm", "add_rms_norm"})
"""Ops in which NaN fills rows; the same rows must hold one, and every other row must be as if it were not there."""

CACHED = ("attention", "attention_write", "kv_write")
ATTENDING = (*CACHED, "sink_attention", "whole_attention", "mean_rows")
"""Ops in which NaN may spoil all of a sequence, also what is masked; every other sequence is as if it were not there."""


@dataclass(frozen=True, slots=True)
class OpCase:
    """A case in one dtype with one weight form and one cache form.

    boundary  its steps end at the boundaries of blocks, whatever their size is
    """

    case: Case
    weight_form: WeightForm | None = None
    cache_form: str = ""
    boundary: bool = False

    def __str__(self) -> str:
        forms = [str(self.weight_form or ""), self.cache_form and f"cache-{self.cache_form}"]
        return "-".join(word for word in (str(self.case), *forms) if word)

    def kinds(self) -> tuple[str, ...]:
        """The kinds of numbers that it is computed for."""
        op = self.case.op
        if self.case.outputs == "none":
            return ("unit",)
        if op in ATTENDING:
            alone = max(map(len, self.case.steps)) == 1 and not self.boundary
            return KINDS[:4] if alone or self.cache_form == "u8" else KINDS
        if op == "embed":
            return ("unit", "special") if self.case.axes["V"] > 1 else ("unit",)
        return KINDS if op in SPECIAL_CELLS | SPECIAL_ROWS else KINDS[:4]

    def steps(self, block_size: int) -> tuple[tuple[int, ...], ...]:
        """New tokens of each row, step after step."""
        if not self.boundary:
            return self.case.steps
        s = block_size
        return ((s, max(1, s - 1), s + 1, 1), (1, 1, 1, s), (s, 2 * s, 0, 1), (1, 0, s - 1 or 1, 1))


def op_cases(op: str) -> Iterator[OpCase]:
    """All cases of an op in all forms."""
    for case in (*own_cases(op), *drawn_cases(op)):
        for dtype in COMPUTE_DTYPES:
            yield from _formed(replace(case, dtype=dtype), boundary=case.name == "boundary")


def own_cases(op: str) -> list[Case]:
    """The op's own cases, one for each name, with a vocabulary that has room for every kind of number."""
    found = {case.name: case for case in cases(op)}
    return [_roomy(case) for case in found.values()]


def _roomy(case: Case) -> Case:
    if case.op == "embed":
        return case
    return replace(case, axes={**case.axes, "V": len(RANGES) * IDS_PER_KIND})


def _formed(case: Case, *, boundary: bool) -> Iterator[OpCase]:
    for weight_form in _weight_forms(case):
        for cache_form in CACHE_FORMS if OPS[case.op].layered else ("",):
            yield OpCase(case, weight_form, cache_form, boundary)


def _weight_forms(case: Case) -> tuple[WeightForm | None, ...]:
    if case.op == "embed":
        return DENSE
    if case.op not in MATRICES:
        return (None,)
    widths = [case.axes[letter] for letter in MATRICES[case.op].values()]
    return tuple(
        form
        for form in WEIGHT_FORMS
        if form.kind != "int4_group" or not any(width % form.group for width in widths)
    )


def drawn_cases(op: str) -> Iterator[Case]:
    """Cases whose lengths are drawn at random, always the same ones."""
    if op in CACHED:
        yield from _drawn_attention(op)
        return
    templates = [case for case in own_cases(op) if case.outputs == "all"]
    rng = Random(op)
    for index in range(4):
        template = rng.choice(templates)
        if op == "linear":
            axes = {"I": 32 * rng.randint(1, 8), "O": rng.randint(1, 300)}
            template = replace(template, axes={**template.axes, **axes}, weights=())
        yield replace(template, name=f"drawn{index}", steps=_drawn_steps(rng))


def _drawn_steps(rng: Random) -> tuple[tuple[int, ...], ...]:
    rows = rng.randint(1, 5)
    first = tuple(rng.randint(1, 24) for _ in range(rows))
    later = tuple(rng.choice((0, 1, 1, 3)) for _ in range(rows))
    return (first, later) if any(later) else (first,)


def _drawn_attention(op: str) -> Iterator[Case]:
    rng = Random(op)
    for name in ("boundary", "drawn0", "drawn1", "drawn2"):
        kv_heads, width = rng.choice((1, 2, 3)), rng.choice((32, 64))
        heads = kv_heads * rng.choice((1, 2, 4))
        axes = {"H": heads, "K": kv_heads, "D": width, "Dv": width, "V": len(RANGES) * IDS_PER_KIND}
        attributes: dict[str, Attribute] = {}
        if op != "kv_write":
            attributes = {"scale": width**-0.5, "window": rng.choice((None, None, 3, 9))}
        if op == "attention":
            attributes |= {"kv_heads": kv_heads, "value_width": width}
        yield Case(
            op=op, name=name, dtype="f32", axes=axes, attributes=attributes, steps=_drawn_steps(rng)
        )
    if op != "kv_write":
        axes = {"H": 4, "K": 2, "D": 64, "Dv": 64, "V": len(RANGES) * IDS_PER_KIND}
        attributes = {"scale": 0.125, "soft_cap": 3.0}
        if op == "attention":
            attributes |= {"kv_heads": 2, "value_width": 64}
        yield Case(op=op, name="soft_cap", dtype="f32", axes=axes, attributes=attributes)
