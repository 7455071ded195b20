"""The largest logit of each row, as the kernel library finds it beside the step, and what sampling makes of it."""

import kernel_sets
import numpy as np
import pytest
from dovetail.platform import Batch, LateEdits, SamplingColumns
from dovetail_cpu.native.bindings import FORM, Matrix, PackedSpec
from dovetail_cpu.native.model import whole_lines
from dovetail_cpu.native.steps import Made, Place, Steps
from dovetail_sdk.sampling import HostSampler, Peaks
from ml_dtypes import bfloat16

KERNELS = kernel_sets.named()
pytestmark = pytest.mark.skipif(not KERNELS, reason=str(kernel_sets.FOUND))


def table(steps, numbers):
    """A bf16 matrix of the steps; returns its index."""
    data = np.ascontiguousarray(numbers.astype(bfloat16))
    steps.arrays.append(data)
    steps.matrices.append(Matrix(data.ctypes.data, None, None, None, *data.shape, FORM["dense"], 0))
    return len(steps.matrices) - 1


def run(steps, kernels, rows, width):
    """One step of which every token's output is wanted: the result and its peaks."""
    engine = kernel_sets.engine(kernels, steps)
    result, peaks = whole_lines((rows, width)), Peaks.of(rows)
    result[:] = np.nan
    each = np.arange(rows, dtype=np.int32)
    batch = Batch(
        tokens=each,
        positions=each.reshape(1, -1),
        row_starts=np.array([0, rows], np.int32),
        slots=np.zeros(1, np.int32),
        past=np.zeros(1, np.int32),
        tables=(),
        copies=(),
        outputs=each,
    )
    engine.start(batch, each, (result,), peaks)
    engine.wait()
    engine.close()
    return result, peaks


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("rows", [1, 5, 40])
@pytest.mark.parametrize("width", [1, 37, 1500, 1536])
def test_peaks_of_a_product_are_the_first_of_the_largest(kernels, rows, width):
    """Small whole numbers: every sum is exact, and most maxima are met more than once."""
    rng = np.random.default_rng(rows + width)
    steps = Steps()
    x, y = steps.slot(32, outputs=False), steps.slot(32, outputs=True)
    embedded = table(steps, rng.integers(-1, 2, (rows, 32)))
    steps.add(Made("embed", (), (x,), (embedded,)))
    steps.add(Made("take_rows", (x,), (y,)))
    steps.packed.append(PackedSpec(32, 0, FORM["dense"], 0, 1, 1))
    steps.add(Made("pack", (y,), packed=0))
    weight = table(steps, rng.integers(-1, 2, (width, 32)))
    steps.add(Made("product", (), (Place(-1, 0, width, True),), (weight,), 0))
    result, peaks = run(steps, kernels, rows, width)
    np.testing.assert_array_equal(peaks.values, result.max(1))
    np.testing.assert_array_equal(peaks.ids, result.argmax(1))


@pytest.mark.parametrize("kernels", KERNELS)
def test_peaks_tell_numbers_that_are_none_and_greedy_ids_do_not_depend_on_them(kernels):
    rng = np.random.default_rng(0)
    rows, width = 24, 301
    logits = rng.standard_normal((rows, width)).astype(bfloat16).astype(np.float32)
    logits[3, 100] = logits[4, [0, 300]] = np.nan
    logits[5, 7], logits[6, [1, 200]] = np.inf, -np.inf
    logits[7], logits[8], logits[9] = np.nan, -np.inf, 0.0
    logits[10, 5:] = -np.inf
    steps = Steps()
    steps.add(Made("embed", (), (Place(-1, 0, width, True),), (table(steps, logits),)))
    result, peaks = run(steps, kernels, rows, width)
    np.testing.assert_array_equal(result, logits)
    np.testing.assert_array_equal(peaks.values, logits.max(1))
    which = rng.permutation(rows).astype(np.int32)
    columns = SamplingColumns(
        slot=np.full(rows, -1, np.int32),
        target=np.where(which == 11, 9, -1).astype(np.int32),
        temperature=np.where(which % 5 == 2, 0.7, 0).astype(np.float32),
        top_k=np.zeros(rows, np.int32),
        top_p=np.ones(rows, np.float32),
        min_p=np.zeros(rows, np.float32),
        seed=np.zeros((rows, 2), np.uint32),
        position=np.arange(rows, dtype=np.int32),
        logprobs=np.full(rows, -1, np.int32),
    )
    late = LateEdits(
        rows=np.array([2], np.int32),
        ids=np.array([int(peaks.ids[which[2]])], np.int32),
        factors=np.ones(1, np.float32),
        addends=np.full(1, -np.inf, np.float32),
        mask_rows=np.array([9], np.int32),
        masks=np.full((1, -(-width // 32)), 0x55555555, np.uint32),
    )
    for edits in (None, late):
        alone = HostSampler(width).sample(result, which, columns, edits)
        helped = HostSampler(width).sample_peaked(result, which, columns, edits, peaks)
        np.testing.assert_array_equal(helped.ids, alone.ids)
        np.testing.assert_array_equal(helped.not_finite, alone.not_finite)
