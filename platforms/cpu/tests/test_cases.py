"""Every conformance case of every op against the reference platform, within the op's own tolerance."""

from collections.abc import Iterator

import numpy as np
import pytest
from cpu_driver import i32
from dovetail.graph import OPS, Case, Graph, case_graph, case_vocabulary, cases
from dovetail.platform import Batch, Device, KVLayout, Shape
from dovetail.weights import random_weights
from dovetail_sdk.reference import ReferencePlatform

SIZE = 32


def batches(case: Case) -> Iterator[Batch]:
    """The case's steps; row r has slot r + 1 and blocks of its own."""
    rng = np.random.default_rng(1)
    rows = max(map(len, case.steps))
    total = np.array([sum(step[r] for step in case.steps if r < len(step)) for r in range(rows)])
    width = -(-int(total.max()) // SIZE)
    tables = 1 + np.arange(rows * width, dtype=np.int32).reshape(rows, width)
    past = np.zeros(rows, np.int32)
    groups = int(OPS[case.op].layered)
    for step in case.steps:
        active = [row for row, count in enumerate(step) if count]
        counts = i32([step[row] for row in active])
        ends = np.cumsum(counts)
        places = np.concatenate([np.arange(past[r], past[r] + step[r]) for r in active])
        outputs = {"all": np.arange(ends[-1]), "last": ends - 1, "none": ends[:0]}[case.outputs]
        yield Batch(
            tokens=i32(rng.integers(0, case_vocabulary(case), ends[-1])),
            positions=i32(places + case.position)[None],
            row_starts=i32([0, *ends]),
            slots=i32(active) + 1,
            past=past[active],
            tables=(tables[active],) * groups,
            copies=(np.zeros((0, 2), np.int32),) * groups,
            outputs=i32(outputs),
        )
        past[active] += counts


def outputs_of(device: Device, graph: Graph, case: Case) -> list[np.ndarray]:
    model = device.load(graph, random_weights(graph))
    model.allocate(KVLayout(SIZE, graph.dtype, graph.cache), (200,) * len(graph.cache))
    program = model.compile(Shape(600, 32, 600, 200))
    found = []
    for batch in batches(case):
        pending = program.run(batch)
        rows = i32(range(len(batch.outputs)))
        found += [pending.fetch(name, rows).result() for name in graph.outputs]
    model.close()
    return found


@pytest.fixture(scope="module")
def plain() -> Device:
    platform = ReferencePlatform()
    return platform.open(platform.probe())


@pytest.mark.parametrize("op", OPS)
def test_cases_are_what_the_reference_says(device, plain, op):
    if op not in device.capabilities.ops and op not in device.capabilities.fused_ops:
        pytest.skip("the platform does not have the op")
    # What kv_write wrote shows only in what attention reads.
    tolerance = OPS["attention" if op == "kv_write" else op].tolerance
    wrong, run = [], 0
    for case in cases(op):
        graph = case_graph(case)
        if not all(support.kernel for support in device.supports(graph)):
            continue
        run += 1
        pairs = zip(outputs_of(device, graph, case), outputs_of(plain, graph, case), strict=True)
        for found, wanted in pairs:
            error = np.square(found - wanted).sum() / max(np.square(wanted).sum(), 1e-30)
            if wanted.size and not error <= tolerance[case.dtype]:
                wrong.append(f"{case}: {error:.2g}")
    assert run and not wrong
