"""Every conformance case of every op runs on the reference platform, step after step, and fits its shapes."""

import numpy as np
import pytest
from dovetail.graph import OPS, case_graph, cases
from dovetail.platform import KVLayout, Shape
from dovetail_sdk.reference.platform import ReferenceDevice
from sdk_cases import SIZE, CaseSource, batches


@pytest.mark.parametrize("op", OPS)
def test_cases_run_on_the_reference(op):
    for case in cases(op):
        graph = case_graph(case)
        device = ReferenceDevice()
        assert all(support.kernel for support in device.supports(graph))
        model = device.load(graph, CaseSource(graph))
        model.allocate(KVLayout(SIZE, "f32", graph.cache), (200,) * len(graph.cache))
        program = model.compile(Shape(600, 32, 600, 200))
        for batch in batches(case):
            pending = program.run(batch)
            rows = np.arange(batch.outputs.size, dtype=np.int32)
            for name, value in graph.outputs.items():
                got = pending.fetch(name, rows).result()
                assert got.shape == (rows.size, graph.values[value].shape[-1]), case
                assert got.dtype == np.float32 and np.isfinite(got).all(), case
