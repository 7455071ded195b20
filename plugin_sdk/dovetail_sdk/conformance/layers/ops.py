"""Ops: every op in every dtype, weight form and cache form, against the reference platform."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from math import prod

import numpy as np
from dovetail.graph import (
    OPS,
    Case,
    Graph,
    WeightForm,
    case_graph,
    case_vocabulary,
    passes,
    with_forms,
)
from dovetail.platform import F32, Capabilities, Device, Shape

from dovetail_sdk.conformance.check import Cell, Check, Failed, Unsupported
from dovetail_sdk.conformance.context import PLAIN_FORMS, Context, require_dtype, small_block
from dovetail_sdk.conformance.driving import Row, Session, fetch
from dovetail_sdk.conformance.numbers import Weights, error, generator

from .op_cases import (
    ATTENDING,
    IDS_PER_KIND,
    MATRICES,
    RANGES,
    SPECIAL_CELLS,
    OpCase,
    op_cases,
)

LOSSY_CACHE = 2e-3
"""Error allowed where keys and values are kept in fewer bits than any dtype has."""
CACHE_ROUNDED = {"f32": 0.0, "f16": 5e-6, "bf16": 2e-4}
"""Error allowed for a cache that keeps less than the dtype computes in."""
QUANTISED = {"f32": 1e-7, "f16": 5e-4, "bf16": 5e-4}
"""Error allowed in a multiplication by integers: platforms may quantise activations below f32."""
ROUNDED = {"bf16": 5e-5, "f16": 1e-6}
"""Error allowed where a device may keep more bits of a table than the dtype has."""
SUBNORMAL = 1e-6
"""f16 numbers below this are compared as if they were it: units may flush what is smaller."""


def checks() -> Iterator[Check]:
    """One check for each op, case, dtype and form."""
    for op in tuple(OPS):  # opening a device may register ops of its own
        for item in op_cases(op):
            yield Check("ops", str(item), partial(run_case, item), cell_of(item))


def cell_of(item: OpCase) -> Cell:
    """Where a case belongs in the support matrix."""
    form = str(item.weight_form or "")
    return Cell(item.case.op, item.case.dtype, form, item.cache_form)


def run_case(item: OpCase, context: Context) -> int:
    """Compare every kind of number, step after step; returns the number of comparisons."""
    graph = graph_of(item)
    form, block_size = gate(item, graph, context)
    if context.dry:
        return len(item.kinds())
    with (
        open_case(item, context.device, graph, form, block_size) as tested,
        open_case(item, context.oracle, graph, form, block_size) as oracle,
    ):
        wrong = [
            f"{kind}: {fault}"
            for kind in item.kinds()
            for fault in compare(item, kind, tested, oracle)
        ]
    if wrong:
        more = f" (and {len(wrong) - 3} more)" if wrong[3:] else ""
        raise Failed("; ".join(wrong[:3]) + more)
    return len(item.kinds())


def graph_of(item: OpCase) -> Graph:
    """The case's graph with its weight form."""
    graph = case_graph(item.case)
    if item.weight_form is None:
        return graph
    names = MATRICES.get(item.case.op, ("table",))
    return with_forms(graph, dict.fromkeys(names, item.weight_form))


def gate(item: OpCase, graph: Graph, context: Context) -> tuple[str, int]:
    """Cache form and S to run it with; Unsupported, with the reason, where the device cannot."""
    able = context.capabilities
    require_op(able, item.case.op)
    require_dtype(able, item.case.dtype)
    if item.weight_form is not None:
        require_form(able, item.weight_form)
    form, block_size = "f32", 1
    if item.cache_form:
        config = context.config(item.case.dtype, item.cache_form)
        form, block_size = config.form.name, config.block_size
    elif able.cache_forms:
        form, block_size = able.cache_forms[0].name, small_block(able.cache_forms[0])
    context.supports(graph)
    return form, block_size


def require_op(able: Capabilities, op: str) -> None:
    """Unsupported unless the device understands the op as it is defined here."""
    if able.ops.get(op, 0) < OPS[op].revision:
        raise Unsupported(f"does not have the op {op}")


def require_form(able: Capabilities, form: WeightForm) -> None:
    """Unsupported unless the device multiplies the form."""
    if form not in able.weight_forms:
        raise Unsupported(f"does not multiply {form}")


def open_case(item: OpCase, device: Device, graph: Graph, form: str, block_size: int) -> Session:
    """The case loaded on a device; the reference keeps forms that it lacks in f32, and takes a plugin's own ops apart."""
    if form not in [known.name for known in device.capabilities.cache_forms]:
        form = "f32"
    if "." in item.case.op and item.case.op not in device.capabilities.ops:
        graph, _ = passes.lower(graph, device.capabilities.ops, device.supports)
    steps = item.steps(block_size)
    totals = [
        sum(step[row] for step in steps if row < len(step)) for row in range(max(map(len, steps)))
    ]
    blocks = sum(-(-total // block_size) for total in totals) + 1
    tokens = max(map(sum, steps))
    shape = Shape(tokens, len(totals), tokens, max(-(-total // block_size) for total in totals))
    return Session(
        device,
        graph,
        Weights(graph, partial(fill, item.case)),
        form=form,
        block_size=block_size,
        num_blocks=blocks,
        shape=shape,
    )


def fill(case: Case, name: str, shape: tuple[int, ...], rng: np.random.Generator) -> F32:
    """Random numbers; in the tables of inputs, one range of ids for each kind."""
    numbers = rng.standard_normal(shape, np.float32)
    if not name.endswith(".table"):
        if case.op == "embed" and len(numbers) > 1:  # its second half is special
            _sprinkle(numbers[len(numbers) // 2 :], rng, infinite=True)
        return numbers if len(shape) == 1 or case.op == "embed" else numbers * np.float32(0.5)
    for index, kind in enumerate(RANGES):
        some = numbers[index * IDS_PER_KIND : (index + 1) * IDS_PER_KIND]
        if kind == "special":
            _sprinkle(some, rng, infinite=case.op in SPECIAL_CELLS)
        else:
            some *= np.float32(factor(case, name, kind))
    return numbers


def factor(case: Case, name: str, kind: str) -> float:
    """What numbers of a kind are multiplied by."""
    if kind == "unit":
        return 1.0
    if kind == "tiny":  # products of two must stay above f16's smallest
        return 0.05 if case.dtype == "f16" else 1e-3
    if name in ("q.table", "k.table") or case.op == "mixture":  # of three products
        return 2.0
    return 30.0 if case.dtype == "f16" else 100.0  # and here below its largest


def _sprinkle(numbers: F32, rng: np.random.Generator, *, infinite: bool) -> None:
    """Put NaN, and infinities if wanted, into every third row, in place."""
    values = (np.nan, np.inf, -np.inf) if infinite else (np.nan,)
    for index, row in enumerate(numbers[::3]):
        row[rng.integers(0, row.size)] = values[index % len(values)]


def compare(item: OpCase, kind: str, tested: Session, oracle: Session) -> Iterator[str]:
    """What is wrong with a kind of numbers, step after step."""
    case = item.case
    for index, (rows, outputs) in enumerate(steps_of(item, kind, tested.block_size)):
        found, wanted = tested.run(rows, outputs), oracle.run(rows, outputs)
        at = list(range(len(outputs)))
        if kind == "special" and case.op in ATTENDING:
            ends = np.cumsum([len(row.tokens) for row in rows])
            owners = np.searchsorted(ends, outputs, side="right")
            at = [index for index, owner in enumerate(owners) if is_clean(rows[owner])]
        for name in tested.graph.outputs:
            fault = difference(
                case, kind, fetch(found, name, at), fetch(wanted, name, at), allowed(item)
            )
            if fault:
                yield f"step {index}, {name}: {fault}"


def steps_of(item: OpCase, kind: str, block_size: int) -> Iterator[tuple[list[Row], list[int]]]:
    """Rows and outputs of each step. Row r has slot r + 1; its blocks are in no order."""
    case = item.case
    rng = generator(case, kind)
    steps = item.steps(block_size)
    past = [0] * max(map(len, steps))
    totals = [sum(step[row] for step in steps if row < len(step)) for row in range(len(past))]
    blocks = _shuffled_tables([-(-total // block_size) for total in totals], rng)
    for step in steps:
        rows = []
        for row, count in enumerate(step):
            if count:
                position = case.position + past[row]
                made = Row([0] * count, past[row], blocks[row], row + 1, position)
                own = "unit" if case.op in ATTENDING and is_clean(made) else kind
                own = own if kind == "special" else kind
                tokens = rng.integers(*id_range(case, own), count).tolist()
                rows.append(replace(made, tokens=tokens))
                past[row] += count
        ends = np.cumsum([len(row.tokens) for row in rows])
        outputs = {"all": range(ends[-1]), "last": ends - 1, "none": ()}[case.outputs]
        yield rows, [int(index) for index in outputs]


def is_clean(row: Row) -> bool:
    """Whether a sequence has normal numbers in a step in which its neighbours hold NaN."""
    return row.slot % 2 == 0


def id_range(case: Case, kind: str) -> tuple[int, int]:
    """Token ids whose numbers are of a kind."""
    size = case_vocabulary(case)
    if case.op == "embed":
        return (size // 2, size) if kind == "special" else (0, max(1, size // 2))
    if kind == "mixed":
        return 0, RANGES.index("special") * IDS_PER_KIND
    index = RANGES.index(kind)
    return index * IDS_PER_KIND, (index + 1) * IDS_PER_KIND


def _shuffled_tables(needs: list[int], rng: np.random.Generator) -> list[list[int]]:
    ids = (rng.permutation(sum(needs)) + 1).tolist()
    ends = np.cumsum(needs).tolist()
    return [ids[end - need : end] for need, end in zip(needs, ends, strict=True)]


def allowed(item: OpCase) -> float:
    """The largest error: the op's own, more where integers or a narrower cache take part."""
    case = item.case
    tolerance = OPS["attention" if case.op == "kv_write" else case.op].tolerance[case.dtype]
    if case.op == "embed" and case.dtype != "f32" and str(item.weight_form) != case.dtype:
        tolerance = ROUNDED[case.dtype]
    if item.weight_form is not None and item.weight_form.kind != "dense":
        tolerance = max(tolerance, QUANTISED[case.dtype])
    if item.cache_form in PLAIN_FORMS and item.cache_form != case.dtype:
        tolerance = max(tolerance, CACHE_ROUNDED[item.cache_form])
    elif item.cache_form and item.cache_form not in PLAIN_FORMS:
        tolerance = max(tolerance, LOSSY_CACHE)
    return tolerance


def difference(case: Case, kind: str, found: F32, wanted: F32, tolerance: float) -> str:
    """What is wrong, "" if nothing is."""
    if found.shape != wanted.shape or found.dtype != np.float32:
        return f"{found.dtype} {found.shape}, expected float32 {wanted.shape}"
    if not prod(wanted.shape):
        return ""
    if kind == "special" and case.op not in ATTENDING:
        return _special_difference(case, found, wanted, tolerance)
    if not np.isfinite(found).all():
        return f"{int((~np.isfinite(found)).sum())} of {found.size} numbers are not finite"
    return _beyond(case, found, wanted, tolerance)


def _special_difference(case: Case, found: F32, wanted: F32, tolerance: float) -> str:
    if case.op in SPECIAL_CELLS or case.op == "embed":
        agree = (np.isnan(found) == np.isnan(wanted)) & (np.isinf(found) == np.isinf(wanted))
        agree &= ~np.isinf(wanted) | (found == wanted)
        if not agree.all():
            return f"{int((~agree).sum())} of {found.size} numbers differ in being NaN or infinite"
        finite = np.isfinite(wanted)
        return _beyond(case, np.where(finite, found, 0), np.where(finite, wanted, 0), tolerance)
    broken, expected = (~np.isfinite(array).all(axis=1) for array in (found, wanted))
    if (broken != expected).any():
        rows = np.flatnonzero(broken != expected).tolist()
        return f"rows {rows[:8]} differ in holding NaN"
    return _beyond(case, found[~expected], wanted[~expected], tolerance)


def _beyond(case: Case, found: F32, wanted: F32, tolerance: float) -> str:
    value = error(found, wanted)
    if value <= tolerance:
        return ""
    if case.dtype == "f16" and np.abs(found - wanted).max() <= SUBNORMAL:
        return ""
    return f"error {value:.2g} exceeds {tolerance:.2g}"
