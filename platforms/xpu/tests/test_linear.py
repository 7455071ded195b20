"""The variant of matrix products for GPUs, which no CPU driver is given, against NumPy on PoCL."""

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from dovetail.graph import BF16, F32, INT8, GraphBuilder, WeightForm, with_forms
from dovetail_sdk.conformance.numbers import Weights
from dovetail_sdk.opencl import Machine, OpenclBackend, Programs, cache_folder, find
from dovetail_sdk.packing import read_f32
from dovetail_sdk.runner import NUMPY_TYPES, NodeWeights
from dovetail_xpu.kernels.linear import Linear
from dovetail_xpu.kernels.tools import Tools
from dovetail_xpu.select import choose

INT4 = WeightForm("int4_group", group=32)


def graph_of(inputs, outputs, form, dtype="f32"):
    build = GraphBuilder("linear", dtype)
    x = build.op(
        "embed",
        build.input("tokens", ("T",)),
        weights={"table": build.weight("table", (8, inputs))},
    )
    weights = {
        "weight": build.weight("weight", (outputs, inputs)),
        "bias": build.weight("bias", (outputs,)),
    }
    build.output("logits", build.op("linear", x, weights=weights))
    return with_forms(build.build(), {"weight": form})


@pytest.mark.parametrize("form", [F32, BF16, INT8, INT4], ids=str)
def test_an_item_per_output_gives_what_numpy_gives(pocl, form):
    machine = Machine(pocl)
    backend = OpenclBackend(machine, Programs(machine, cache_folder()))
    variant = replace(choose(pocl, machine.units), lane=True, linear_group=64)
    linear = Linear(Tools(backend, variant))
    rng = np.random.default_rng(0)
    for inputs, outputs in ((64, 64), (544, 131)) if form.group else ((64, 64), (533, 131)):
        graph = graph_of(inputs, outputs, form)
        source = Weights(graph, lambda name, shape, rng: rng.standard_normal(shape, np.float32))
        packed = linear.pack(NodeWeights(graph.nodes[-1], graph, source, backend, {}))
        for lines in (1, 3, 19):
            x = rng.standard_normal((lines, inputs), np.float32)
            found = backend.download(linear.linear(backend.upload(x), **packed))
            wanted = x @ read_f32(source, "weight").T + source.read("bias")
            assert np.square(found - wanted).sum() <= 1e-9 * np.square(wanted).sum()


ROUNDED = """
__kernel void rounded(__global const float *x, __global ushort *y) {
  int i = get_global_id(0);
  STORE16(bf16, y, 16 * i, vload16(i, x));
  STORE(bf16, y, 16 * i, x[16 * i]);
}
"""


def test_bf16_is_rounded_as_ml_dtypes_does(pocl, tmp_path):
    machine = Machine(pocl)
    backend = OpenclBackend(machine, Programs(machine, cache_folder()))
    bits = np.random.default_rng(1).integers(0, 2**32, 4096, np.uint32)
    x = bits.view(np.float32).reshape(64, 64)
    path = tmp_path / "rounded.cl"
    path.write_text(ROUNDED)
    function = backend.programs.function(path, "rounded", "bb")
    given, made = backend.upload(x), backend.upload(np.zeros((64, 64), ml_dtypes.bfloat16))
    function((256,), (1,), given.buffer, made.buffer)
    found = backend.download(made)
    with np.errstate(invalid="ignore"):
        wanted = x.astype(ml_dtypes.bfloat16)
    assert np.array_equal(np.isnan(found), np.isnan(wanted))
    same = ~np.isnan(wanted)
    assert np.array_equal(found[same], wanted[same])


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
@pytest.mark.parametrize("form", [None, INT8, INT4], ids=str)
def test_the_matrix_unit_gives_what_numpy_gives(dtype, form):
    """Its product is played by shuffles, on any device here that has sub-groups."""
    found = [one for one in find() if one.features.subgroups and one.features.fp16]
    if not found:
        pytest.skip("no OpenCL device here has sub-groups and half arithmetic")
    machine = Machine(found[0])
    backend = OpenclBackend(machine, Programs(machine, cache_folder()))
    variant = replace(
        choose(found[0], machine.units), lane=True, linear_group=64, matrix=True, emulated=True
    )
    linear = Linear(Tools(backend, variant))
    rng = np.random.default_rng(0)
    for inputs, outputs in ((64, 64), (544, 131)):
        graph = graph_of(inputs, outputs, form or WeightForm("dense", dtype), dtype)
        source = Weights(graph, lambda name, shape, rng: rng.standard_normal(shape, np.float32))
        packed = linear.pack(NodeWeights(graph.nodes[-1], graph, source, backend, {}))
        for lines in (8, 45):
            x = rng.standard_normal((lines, inputs), np.float32).astype(NUMPY_TYPES[dtype])
            found_y = backend.download(linear.linear(backend.upload(x), **packed))
            weight, bias = read_f32(source, "weight"), source.read("bias")
            wanted = x.astype(np.float32) @ weight.T + bias.astype(np.float32)
            error = np.square(found_y.astype(np.float32) - wanted).sum()
            assert error <= 2e-5 * np.square(wanted).sum()
