"""The conformance cases of the ops as weights and batches."""

import numpy as np
from dovetail.graph import OPS, Case, case_vocabulary
from dovetail.platform import Batch
from sdk_models import ArraySource

SIZE = 4


class CaseSource(ArraySource):
    """Random weights in the form that the graph gives them."""

    def __init__(self, graph, seed=0):
        rng = np.random.default_rng(seed)
        tensors = {
            name: rng.standard_normal(weight.shape, np.float32)
            for name, weight in graph.weights.items()
        }
        super().__init__(graph, tensors)

    def read(self, name, plane="data", rows=slice(None)):
        return self._tensors[name][rows]


def batches(case: Case):
    """The case's steps; row r has slot r + 1 and blocks of its own."""
    rng = np.random.default_rng(1)
    rows = max(map(len, case.steps))
    longest = max(sum(step[r] for step in case.steps if r < len(step)) for r in range(rows))
    width = -(-longest // SIZE)
    tables = 1 + np.arange(rows * width, dtype=np.int32).reshape(rows, width)
    past = np.zeros(rows, np.int32)
    for step in case.steps:
        active = [row for row, count in enumerate(step) if count]
        counts = np.array([step[row] for row in active], np.int32)
        ends = np.cumsum(counts)
        places = np.concatenate([np.arange(past[r], past[r] + step[r]) for r in active])
        outputs = {"all": np.arange(ends[-1]), "last": ends - 1, "none": ends[:0]}[case.outputs]
        layered = OPS[case.op].layered
        yield Batch(
            tokens=rng.integers(0, case_vocabulary(case), ends[-1]).astype(np.int32),
            positions=(places + case.position).astype(np.int32)[None],
            row_starts=np.concatenate([[0], ends]).astype(np.int32),
            slots=np.array(active, np.int32) + 1,
            past=past[active],
            tables=(tables[active],) if layered else (),
            copies=(np.zeros((0, 2), np.int32),) if layered else (),
            outputs=outputs.astype(np.int32),
        )
        past[active] += counts
