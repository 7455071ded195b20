"""Dtypes, cache forms and weight forms: how far each may be from f32, and how each is refused."""

import numpy as np
import pytest
from cpu_driver import Driver, Reference, blocks_for, make_graph, prompt
from dovetail.errors import PlatformError
from dovetail.graph import WeightForm, with_forms
from dovetail.platform import Device, KVLayout
from dovetail_sdk.testing.checkpoints import write_checkpoint

WIDE = {"hidden_size": 256, "intermediate_size": 512, "head_dim": 64}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory):
    return write_checkpoint(tmp_path_factory.mktemp("forms") / "m", spread=0.08, **WIDE)


@pytest.fixture(scope="module")
def reference(directory) -> Reference:
    return Reference(directory)


def dtypes_and_forms(device: Device) -> list[tuple[str, str]]:
    return [
        (dtype, form.name)
        for form in device.capabilities.cache_forms
        for dtype in form.compute_dtypes
    ]


def chunked(driver: Driver, tokens: list[int]) -> np.ndarray:
    blocks = blocks_for(len(tokens), first=3)
    ends = [0, 17, 40, len(tokens) - 1, len(tokens)]
    return np.concatenate(
        [driver.step([(tokens[a:b], a, blocks)]) for a, b in zip(ends, ends[1:], strict=False)]
    )


def test_every_promised_cache_form_is_close(device, directory, reference):
    tokens = prompt(120)
    wanted = reference.whole(tokens)
    bounds = {"f32": 1e-3, "f16": 2e-2, "bf16": 0.3, "u8": 0.5}
    for dtype, form in dtypes_and_forms(device):
        driver = Driver(device, directory, dtype, form)
        error = np.abs(chunked(driver, tokens) - wanted).max()
        assert error <= max(bounds[dtype], bounds[form]), (dtype, form)
        driver.model.close()


def test_block_bytes_are_those_of_the_plain_forms(device, directory):
    driver = Driver(device, directory)
    layout = KVLayout(32, "f32", driver.graph.cache)
    assert driver.model.block_bytes(layout) == (3 * 2 * 32 * 2 * 64 * 4,)


def test_stable_forms_do_not_depend_on_chunks(device, directory):
    tokens = prompt(64)
    for form in device.capabilities.cache_forms:
        if not form.stable or "f32" not in form.compute_dtypes:
            continue
        driver = Driver(device, directory, "f32", form.name)
        width = driver.model.block_bytes(driver.layout)[0]
        records = np.zeros((2, 2, width), np.uint8)
        driver.step([(tokens, 0, [5, 6])])
        for a, b in ((0, 17), (17, 63), (63, 64)):
            driver.step([(tokens[a:b], a, [7, 8])])
        driver.model.read_blocks(0, np.array([5, 6], np.int32), records[0])
        driver.model.read_blocks(0, np.array([7, 8], np.int32), records[1])
        numbers = records.view(np.float32 if form.name == "f32" else np.float16)
        assert np.allclose(numbers[0], numbers[1], rtol=1e-2, atol=1e-3), form.name


def test_a_cache_form_of_another_dtype_is_refused_with_a_way_out(device, directory):
    graph = make_graph(device, directory)
    driver = Driver(device, directory)
    for form in ("bf16", "u4"):
        if form == "bf16" and ("f32", "bf16") in dtypes_and_forms(device):
            continue
        with pytest.raises(PlatformError, match="--kv-cache-dtype"):
            driver.model.block_bytes(KVLayout(32, form, graph.cache))


def test_another_block_size_is_refused(device, directory):
    driver = Driver(device, directory)
    with pytest.raises(PlatformError, match="--block-size 32"):
        driver.model.allocate(KVLayout(16, "f32", driver.graph.cache), (8,))


def test_allocating_again_keeps_the_compiled_model(device, directory, reference):
    driver = Driver(device, directory)
    compiled = driver.model._compiled
    tokens = prompt(40)
    driver.model.allocate(driver.layout, (10,))
    assert driver.model._compiled is compiled
    assert np.abs(driver.whole(tokens) - reference.whole(tokens)).max() <= 1e-3
    driver.model.allocate(KVLayout(32, "u8", driver.graph.cache), (10,))
    assert driver.model._compiled is not compiled
    assert np.abs(driver.whole(tokens) - reference.whole(tokens)).max() <= 0.5


@pytest.mark.parametrize(("quantization", "bound"), [("int8", 0.15), ("int4", 0.8)])
def test_quantised_weights_are_near_and_exact_arithmetic_on_them_is_exact(
    device, directory, reference, quantization, bound
):
    tokens = prompt(60)
    driver = Driver(device, directory, quantization=quantization)
    found = driver.whole(tokens)
    assert np.abs(found - reference.whole(tokens)).mean() <= bound
    assert np.abs(found - unpacked(device, driver, directory).whole(tokens)).max() <= 2e-3


def unpacked(device: Device, driver: Driver, directory) -> Driver:
    """The same model with its quantised matrices unpacked to f32 before loading."""
    from dovetail.weights import open_checkpoint, open_source
    from dovetail.weights.quantise import dequantise

    source = open_source(driver.graph, open_checkpoint(str(directory)), progress=False)
    dense = WeightForm("dense", "f32")

    class Unpacked:
        def spec(self, name):
            return graph.weights[name]

        def planes(self, name):
            return ("data",)

        def read(self, name, plane="data", rows=slice(None)):
            form = driver.graph.weights[name].form
            if form.kind == "dense":
                return source.read(name)[rows]
            planes = {plane: source.read(name, plane) for plane in source.planes(name)}
            return dequantise(planes, form)[rows]

    forms = {n: dense for n, w in driver.graph.weights.items() if w.form.kind != "dense"}
    graph = with_forms(driver.graph, forms)
    other = object.__new__(Driver)
    other.graph, other.layout = graph, driver.layout
    other.model = device.load(graph, Unpacked())
    other.model.allocate(driver.layout, (10,))
    other.program = other.model.compile(driver.program.shape)
    return other


@pytest.mark.parametrize("stored", ["bfloat16", "float16"])
def test_weights_stored_in_16_bits_are_computed_with_exactly(device, tmp_path_factory, stored):
    path = write_checkpoint(tmp_path_factory.mktemp(stored) / "m", torch_dtype=stored)
    driver, tokens = Driver(device, path), prompt(40)
    matrix = driver.graph.weights["model.layers.0.mlp.up_proj.weight"].form
    assert str(matrix) == {"bfloat16": "bf16", "float16": "f16"}[stored]
    assert np.abs(driver.whole(tokens) - Reference(path).whole(tokens)).max() <= 1e-3


@pytest.mark.parametrize("quantization", ["int8", "int4"])
def test_quantised_weights_work_in_every_dtype(device, directory, quantization):
    tokens = prompt(60)
    exact = Driver(device, directory, quantization=quantization).whole(tokens)
    for dtype in device.capabilities.compute_dtypes:
        form = next(f.name for f in device.capabilities.cache_forms if dtype in f.compute_dtypes)
        driver = Driver(device, directory, dtype, form, quantization)
        assert np.abs(driver.whole(tokens) - exact).max() <= 0.5, dtype
