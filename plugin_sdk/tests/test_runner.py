"""The kernel-table runner on arrays that only their backend can look into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from dovetail.errors import OutOfMemory
from dovetail.graph import COMPUTE_DTYPES, F32, OPS, case_graph, cases, passes
from dovetail.platform import CacheForm, Capabilities, KVLayout, Shape
from dovetail_sdk.reference import host_kernels
from dovetail_sdk.reference.platform import ReferenceDevice
from dovetail_sdk.runner import NUMPY_TYPES, Backend, Event, Kernel, KernelDevice, host_memory
from sdk_cases import CaseSource, batches

FORMS = ("f32", "bf16", "f16")


@dataclass(frozen=True)
class Opaque:
    """Nothing but a backend reaches `numbers`; bf16 and f16 are kept as such."""

    numbers: np.ndarray


class OpaqueBackend(Backend):
    """Copies at every border, and says that steps are not over until they are waited for."""

    def __init__(self) -> None:
        self.events: list[OpaqueEvent] = []

    def empty(self, shape, dtype):
        return Opaque(np.zeros(shape, NUMPY_TYPES[dtype]))

    def upload(self, array):
        return Opaque(array.copy())

    def download(self, array):
        host = array.numbers.copy()
        host.flags.writeable = False
        return host

    def memory(self):
        return host_memory()

    def rounded(self, array, dtype):
        return Opaque(array.numbers.astype(NUMPY_TYPES[dtype]))

    def launch(self, arrays):
        assert all(isinstance(array, Opaque) for array in arrays)
        self.events.append(OpaqueEvent())
        return self.events[-1]

    def take(self, array, blocks):
        return array.numbers[blocks]

    def put(self, array, blocks, data):
        array.numbers[blocks] = data

    def copy(self, array, sources, targets):
        array.numbers[targets] = array.numbers[sources]


class OpaqueEvent(Event):
    """Over once it was waited for."""

    def __init__(self) -> None:
        self.waited = False

    def done(self) -> bool:
        return self.waited

    def wait(self) -> None:
        self.waited = True


def capabilities(**fields: Any) -> Capabilities:
    return Capabilities(
        ops={},
        compute_dtypes=COMPUTE_DTYPES,
        weight_forms=(F32,),
        cache_forms=tuple(CacheForm(form, 1, 64) for form in FORMS),
        **fields,
    )


def device_of(kernels=None, backend=None, **options) -> KernelDevice:
    backend = backend or OpaqueBackend()
    table = host_kernels(backend) | (kernels or {})
    return KernelDevice(backend, table, capabilities(), **options)


def case_of(op: str, name: str):
    return next(case for case in cases(op) if case.name == name)


def ready(device, graph, form="f32", num_blocks=200):
    model = device.load(graph, CaseSource(graph))
    model.allocate(KVLayout(4, form, graph.cache), (num_blocks,) * len(graph.cache))
    return model, model.compile(Shape(600, 32, 600, 200))


def outputs(device, case, graph, form="f32"):
    _, program = ready(device, graph, form)
    found = []
    for batch in batches(case):
        pending = program.run(batch)
        rows = np.arange(batch.outputs.size, dtype=np.int32)
        found += [pending.fetch(name, rows).result() for name in graph.outputs]
    return found


@pytest.mark.parametrize("op", OPS)
def test_host_kernels_equal_the_reference_to_the_bit(op):
    for case in cases(op):
        graph = case_graph(case)
        ours, theirs = (
            outputs(device, case, graph, case.dtype) for device in (device_of(), ReferenceDevice())
        )
        for mine, wanted in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(mine, wanted, err_msg=str(case))


def test_a_missing_kernel_and_a_refusal_have_reasons():
    narrow = Kernel("narrow", lambda x: x, supports=lambda node, graph: "too wide for it")
    device = device_of({"add": narrow})
    del device._kernels["mul"]
    for op, reason in (
        ("add", "narrow: too wide for it"),
        ("mul", "there is no kernel for op mul"),
    ):
        answers = device.supports(case_graph(next(cases(op))))
        (refused,) = [answer for answer in answers if answer.kernel is None]
        assert refused.reason == reason


def test_an_op_without_a_kernel_is_taken_apart():
    device = device_of()
    del device._kernels["attention_write"], device._kernels["add_rms_norm"]
    for op, parts in (("attention_write", "attention"), ("add_rms_norm", "rms_norm")):
        graph = case_graph(next(cases(op)))
        able = dict.fromkeys(device._kernels, 1)
        prepared = passes.prepare(graph, ops=able, supports=device.supports)
        ops = {node.op for node in prepared.graph.nodes}
        assert parts in ops and op not in ops


def test_ops_follow_from_the_table():
    device = device_of({"add": Kernel("new add", lambda a, b: a, revision=3)})
    assert device.capabilities.ops["add"] == 3
    assert device.capabilities.dynamic_shapes
    assert device.capabilities.feature("block_transfer").state == "supported"


def test_weights_are_packed_once_per_node_and_shared_by_name():
    seen, made = [], []

    def pack(weights):
        seen.append(weights.node.name)
        assert "bias" not in weights and weights.form("weight") == F32
        assert weights.array("weight") is weights.array("weight")
        assert weights.f32("weight") is weights.f32("weight")
        made.append(weights.array("weight"))
        return {"packed": weights.array("weight"), "weight": None}

    def linear(x, *, weight, packed):
        assert weight is None
        return Opaque(x.numbers @ packed.numbers.T)

    case = case_of("linear", "two_steps")
    graph = case_graph(case)
    device = device_of({"linear": Kernel("packed linear", linear, pack=pack)})
    for mine, wanted in zip(
        outputs(device, case, graph), outputs(ReferenceDevice(), case, graph), strict=True
    ):
        np.testing.assert_allclose(mine, wanted, rtol=1e-6)
    assert len(seen) == len(made) == 1


def test_what_a_step_shares_is_made_once():
    made = []

    def kv_write(k, v, *, cache, step):
        where = step.once("places", lambda: made.append(1) or step.places(cache.group))
        assert step.once("places", lambda: None) is where
        cache.keys.numbers[where], cache.values.numbers[where] = k.numbers, v.numbers

    case = case_of("kv_write", "whole")
    graph = case_graph(case)
    device = device_of({"kv_write": Kernel("own kv_write", kv_write)})
    ours, theirs = (outputs(d, case, graph) for d in (device, ReferenceDevice()))
    for mine, wanted in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, wanted)
    assert len(made) == len(case.steps)


def test_a_step_is_over_when_its_event_is():
    case = case_of("add", "one_token")
    device = device_of()
    _, program = ready(device, case_graph(case))
    (batch,) = batches(case)
    pending = program.run(batch)
    assert not pending.done()
    pending.wait()
    assert pending.done()


def test_memory_that_is_not_there_is_out_of_memory():
    class Full(OpaqueBackend):
        def empty(self, shape, dtype):
            raise MemoryError("no room")

    graph = case_graph(case_of("attention", "whole"))
    with pytest.raises(OutOfMemory, match="no room"):
        ready(device_of(backend=Full()), graph)

    def pack(weights):
        raise MemoryError("no room for weights")

    with pytest.raises(OutOfMemory, match="no room for weights"):
        device_of({"embed": Kernel("big", lambda: None, pack=pack)}).load(graph, CaseSource(graph))


def test_reads_of_what_was_never_written_are_refused_where_asked():
    graph = case_graph(case_of("attention", "whole"))
    *_, last = batches(case_of("attention", "whole"))
    _, program = ready(device_of(checked=True), graph)
    with pytest.raises(ValueError, match="was never written"):
        program.run(last)
    _, program = ready(device_of(), graph)
    program.run(last)


def test_a_closed_model_runs_nothing_and_closes_twice():
    case = case_of("attention", "whole")
    model, program = ready(device_of(), case_graph(case))
    model.close()
    model.close()
    with pytest.raises(ValueError, match="not allocated"):
        program.run(next(batches(case)))


@pytest.mark.parametrize("form", FORMS)
def test_blocks_move_through_host_memory_to_the_bit(form):
    case = case_of("attention", "whole")
    graph = case_graph(case)
    model, _ = ready(device_of(), graph, form, num_blocks=9)
    (size,) = model.block_bytes(KVLayout(4, form, graph.cache))
    data = np.random.default_rng(3).integers(0, 256, (2, size)).astype(np.uint8)
    model.write_blocks(0, np.array([7, 2], np.int32), data).result()
    model.copy_blocks(0, np.array([2], np.int32), np.array([8], np.int32))
    back = np.zeros((3, size), np.uint8)
    model.read_blocks(0, np.array([8, 7, 2], np.int32), back).result()
    np.testing.assert_array_equal(back, data[[1, 0, 1]])
    with pytest.raises(ValueError, match="read_blocks names block 9"):
        model.read_blocks(0, np.array([9], np.int32), back[:1])
