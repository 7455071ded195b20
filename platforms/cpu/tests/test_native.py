"""The kernel library beside NumPy, with every set of kernels that this processor can run."""

import kernel_sets
import numpy as np
import pytest
from dovetail.platform import Batch
from dovetail_cpu.native.bindings import FORM, Matrix, PackedSpec
from dovetail_cpu.native.steps import Made, Place, Steps
from ml_dtypes import bfloat16

KERNELS = kernel_sets.named()
pytestmark = pytest.mark.skipif(not KERNELS, reason=str(kernel_sets.FOUND))


def table_step(steps, table, places):
    """Rows of a bf16 table as the values of a step: `embed` is the way in."""
    data = np.ascontiguousarray(table.astype(bfloat16))
    steps.arrays.append(data)
    rows, width = table.shape
    steps.matrices.append(Matrix(data.ctypes.data, None, None, None, rows, width, FORM["dense"], 0))
    steps.add(Made("embed", (), places, (len(steps.matrices) - 1,)))
    return data.astype(np.float32)


def matrix(steps, rng, form, outputs, inputs, group):
    """A random weight in a form; returns its index and the numbers it stands for."""
    bias = rng.standard_normal(outputs, dtype=np.float32)
    scale = zero = None
    if form == "dense":
        data = rng.standard_normal((outputs, inputs)).astype(bfloat16)
        meant = data.astype(np.float32)
    elif form == "int8_channel":
        data = rng.integers(-127, 128, (outputs, inputs)).astype(np.int8)
        scale = rng.uniform(0.001, 0.01, outputs).astype(np.float32)
        meant = data * scale[:, None]
    else:
        numbers = rng.integers(0, 16, (outputs, inputs)).astype(np.uint8)
        data = numbers[:, ::2] | numbers[:, 1::2] << 4
        zero = rng.integers(0, 16, (outputs, inputs // group)).astype(np.uint8)
        scale = rng.uniform(0.01, 0.1, zero.shape).astype(np.float32)
        centred = numbers.astype(np.float32) - zero.repeat(group, 1)
        meant = centred * scale.repeat(group, 1)
    planes = [np.ascontiguousarray(p) if p is not None else None for p in (data, scale, zero, bias)]
    steps.arrays += [plane for plane in planes if plane is not None]
    pointers = (plane.ctypes.data if plane is not None else None for plane in planes)
    steps.matrices.append(Matrix(*pointers, outputs, inputs, FORM[form], group))
    return len(steps.matrices) - 1, meant, bias


def quantised(x, group):
    """What is left of activations after their quantisation to int8 in groups; 0: all of a token."""
    out = np.empty_like(x)
    for start in range(0, x.shape[1], group or x.shape[1]):
        part = x[:, start : start + (group or x.shape[1])]
        top = np.abs(part).max(1, keepdims=True)
        numbers = np.rint(
            part * (np.float32(127) / top)
        )  # as the kernels: many lie half way between two
        out[:, start : start + part.shape[1]] = numbers * (top / np.float32(127))
    return out


def run(engine, tokens, width, **cache):
    """One step of single tokens; what it writes into the first result."""
    result = np.full((tokens, width), np.nan, np.float32)
    empty = np.zeros((1, 0, 2), np.int32)
    batch = Batch(
        tokens=np.arange(tokens, dtype=np.int32),
        positions=np.arange(tokens, dtype=np.int32).reshape(1, -1),
        row_starts=cache.get("starts", np.array([0, tokens], np.int32)),
        slots=np.zeros(1, np.int32),
        past=cache.get("past", np.zeros(1, np.int32)),
        tables=cache.get("tables", ()),
        copies=tuple(empty),
        outputs=np.zeros(0, np.int32),
    )
    engine.start(batch, batch.tokens, (result,))
    engine.wait()
    return result


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize(
    ("form", "inputs", "group", "terms"),
    [
        ("dense", 96, 0, 1),
        ("dense", 83, 0, 1),
        ("int8_channel", 896, 0, 1),
        ("int8_channel", 896, 0, 2),
        ("int8_channel", 83, 0, 2),
        ("int8_channel", 83, 0, 1),
        ("int8_channel", 896, 128, 1),
        ("int8_channel", 211, 128, 1),
        ("int8_channel", 1984, 64, 1),
        ("int4_group", 384, 128, 1),
        ("int4_group", 192, 64, 1),
        ("int4_group", 96, 32, 1),
        ("int4_group", 384, 128, 2),
        ("int4_group", 192, 64, 2),
        ("int4_group", 96, 32, 2),
    ],
)
@pytest.mark.parametrize("tokens", [1, 3, 8, 15, 33, 200])
def test_products_are_those_of_numpy(kernels, form, inputs, group, terms, tokens):
    rng = np.random.default_rng(inputs + tokens)
    steps = Steps()
    x = steps.slot(inputs, outputs=False)
    values = table_step(steps, rng.standard_normal((tokens, inputs)), (x,))
    weight_group = group if form == "int4_group" else 0
    steps.packed.append(PackedSpec(inputs, group, FORM[form], weight_group, 0, terms))
    steps.add(Made("pack", (x,), packed=0))
    index, meant, bias = matrix(steps, rng, form, 75, inputs, group)
    steps.add(Made("product", (), (Place(-1, 0, 75, False),), (index,), 0))
    for by_rows in (False, True):
        engine = kernel_sets.engine(kernels, steps, by_rows=by_rows)
        found = run(engine, tokens, 75)
        engine.close()
        exact = form == "dense" or terms == 2
        wanted = (values if exact else quantised(values, group)) @ meant.T + bias
        error = 1e-4 if terms == 2 else 2e-3
        np.testing.assert_allclose(found, wanted, atol=error * np.abs(wanted).max())


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("tokens", [1, 5, 40])
def test_a_gated_product_is_activation_of_one_times_the_other(kernels, tokens):
    rng = np.random.default_rng(tokens)
    steps = Steps()
    x = steps.slot(128, outputs=False)
    values = table_step(steps, rng.standard_normal((tokens, 128)), (x,))
    steps.packed.append(PackedSpec(128, 0, FORM["dense"], 0, 0, 1))
    steps.add(Made("pack", (x,), packed=0))
    gate, gate_meant, gate_bias = matrix(steps, rng, "dense", 50, 128, 0)
    up, up_meant, up_bias = matrix(steps, rng, "dense", 50, 128, 0)
    out = Place(-1, 0, 50, False)
    steps.add(Made("product", (), (out,), (gate, up), 0, numbers=(0, 1, 0)))
    engine = kernel_sets.engine(kernels, steps)
    found = run(engine, tokens, 50)
    engine.close()
    g, u = values @ gate_meant.T + gate_bias, values @ up_meant.T + up_bias
    wanted = g / (1 + np.exp(-g.astype(np.float64))) * u
    np.testing.assert_allclose(found, wanted, atol=2e-3 * np.abs(wanted).max())


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize(("terms", "group"), [(1, 0), (1, 128), (2, 0)])
@pytest.mark.parametrize(("tokens", "activation"), [(1, 0), (7, 0), (70, 0), (200, 0), (70, 2)])
def test_a_gated_product_is_multiplied_on_as_it_comes(kernels, terms, group, tokens, activation):
    """gate, up and down in int8: what lies between the products is in an order of its own."""
    rng = np.random.default_rng(tokens)
    steps = Steps()
    x, middle = steps.slot(192, outputs=False), steps.slot(1223, outputs=False)
    values = table_step(steps, rng.standard_normal((tokens, 192)), (x,))
    steps.packed += [PackedSpec(w, group, FORM["int8_channel"], 0, 0, terms) for w in (192, 1223)]
    steps.add(Made("pack", (x,), packed=0))
    gate, gate_meant, gate_bias = matrix(steps, rng, "int8_channel", 1223, 192, group)
    up, up_meant, up_bias = matrix(steps, rng, "int8_channel", 1223, 192, group)
    down, down_meant, down_bias = matrix(steps, rng, "int8_channel", 75, 1223, group)
    step = Made("product", (), (middle,), (gate, up), 0, numbers=(0, 1, activation, 1))
    steps.add(step)
    steps.add(Made("pack", (middle,), packed=1, numbers=(1,)))
    steps.add(Made("product", (), (Place(-1, 0, 75, False),), (down,), 1))
    engine = kernel_sets.engine(kernels, steps)
    found = run(engine, tokens, 75)
    engine.close()
    rounded = values if terms == 2 else quantised(values, group)
    g, u = rounded @ gate_meant.T + gate_bias, rounded @ up_meant.T + up_bias
    wide = g.astype(np.float64)
    inner = wide if activation == 0 else 1.59576912 * (wide + 0.044715 * wide**3)
    made = (wide / (1 + np.exp(-inner.clip(-700))) * u).astype(np.float32)
    wanted = (made if terms == 2 else quantised(made, group)) @ down_meant.T + down_bias
    error = 3e-4 if terms == 2 else 2e-2  # numbers half way between two of int8 may go either way
    np.testing.assert_allclose(found, wanted, atol=error * np.abs(wanted).max())


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize(
    ("heads", "kv_heads", "width", "value_width", "window"),
    [(14, 2, 64, 64, 0), (4, 4, 80, 48, 0), (6, 2, 128, 128, 40), (3, 1, 256, 64, 0)],
)
def test_attention_is_that_of_numpy_over_rows_of_any_length(
    kernels, heads, kv_heads, width, value_width, window
):
    rng = np.random.default_rng(width)
    steps = Steps()
    lengths = [200, 1, 45]
    tokens, blocks = sum(lengths), [7, 1, 2]
    sizes = (heads * width, kv_heads * width, kv_heads * value_width)
    places = [steps.slot(size, outputs=False) for size in sizes]
    made = [table_step(steps, rng.standard_normal((tokens, p.width)), (p,)) for p in places]
    out = Place(-1, 0, heads * value_width, False)
    numbers = (heads, kv_heads, width, value_width, window)
    step = Made("attention", tuple(places), (out,), numbers=numbers, scalars=(width**-0.5, 0.0))
    steps.add(step)
    engine = kernel_sets.engine(kernels, steps, 1)
    padded = -(-width // 32) * 32, -(-value_width // 16) * 16
    # what earlier sequences left behind must not matter, not even NaN
    cache = [np.full((12, kv_heads * 32 * w * 2), 0xFF, np.uint8) for w in padded]
    engine.set_layer(0, *cache)
    table = np.zeros((3, 7), np.int32)
    free = iter(rng.permutation(np.arange(1, 11)))
    for row, count in enumerate(blocks):
        table[row, :count] = [next(free) for _ in range(count)]
    starts = np.cumsum([0, *lengths]).astype(np.int32)
    found = run(
        engine,
        tokens,
        heads * value_width,
        starts=starts,
        past=np.zeros(3, np.int32),
        tables=(table,),
    )
    engine.close()
    for row in range(3):
        q, k, v = (array[starts[row] : starts[row + 1]] for array in made)
        wanted = attend(q, k, v, heads, kv_heads, window)
        np.testing.assert_allclose(found[starts[row] : starts[row + 1]], wanted, atol=0.03)


def attend(q, k, v, heads, kv_heads, window):
    count = len(q)
    q, k = q.reshape(count, heads, -1), k.reshape(count, kv_heads, -1)
    v = v.reshape(count, kv_heads, -1)
    k, v = (array.repeat(heads // kv_heads, 1) for array in (k, v))
    scores = np.einsum("ihd,jhd->hij", q, k) * q.shape[2] ** -0.5
    apart = np.arange(count)[:, None] - np.arange(count)
    seen = (apart >= 0) & ((apart < window) if window else True)
    scores = np.where(seen, scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return np.einsum("hij,jhd->ihd", weights, v).reshape(count, -1)
