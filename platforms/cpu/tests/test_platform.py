"""Who is here, what is promised, and what is refused before anything runs."""

import subprocess
import sys

import pytest
from cpu_driver import make_graph
from dovetail.errors import OutOfMemory, PlatformError
from dovetail.graph import CacheGroup, GraphBuilder
from dovetail.platform import DeviceInfo, KVLayout, Shape
from dovetail_cpu import host, platform
from dovetail_cpu.platform import CpuPlatform
from dovetail_cpu.settings import Settings
from dovetail_sdk.testing.checkpoints import write_checkpoint


def test_probing_imports_no_framework():
    code = (
        "import sys; from dovetail_cpu.platform import CpuPlatform; "
        "print(CpuPlatform().probe()[0].unavailable, 'openvino' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["None", "False"]


def test_another_release_of_openvino_is_named_with_the_way_out(monkeypatch):
    monkeypatch.setattr(platform.metadata, "version", lambda name: "2027.0.0")
    reason = CpuPlatform().probe()[0].unavailable
    assert reason is not None and "2027.0.0" in reason and "pip install" in reason
    with pytest.raises(PlatformError, match="2027"):
        CpuPlatform().open(CpuPlatform().probe())


def test_a_mesh_is_refused():
    info = DeviceInfo(id="0", description="")
    with pytest.raises(PlatformError, match="exactly one"):
        CpuPlatform().open([info, info])


CPUINFO = """processor\t: 0
model name\t: AMD EPYC 9B45
flags\t\t: fpu avx2 avx512f avx512_bf16 avx512_vnni
"""


def test_the_description_names_what_matters():
    assert host.processor_name(CPUINFO) == "AMD EPYC 9B45"
    assert host.cpu_features(CPUINFO) == ["avx2", "avx512", "bf16", "vnni"]
    assert host.cpu_features("") == []
    assert host.processor_name("")


def test_cores_follow_affinity_and_quota(monkeypatch, tmp_path):
    monkeypatch.setattr(host, "_allowed_cpus", lambda: [0, 1, 2, 3])
    monkeypatch.setattr(host, "_siblings", lambda cpu: f"{cpu // 2}")
    monkeypatch.setattr(host, "_CGROUP", tmp_path)
    assert host.usable_cores() == 2
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    monkeypatch.setattr(host, "_siblings", str)
    assert host.usable_cores() == 2
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert host.usable_cores() == 4


def test_threads_stay_on_one_memory_node_unless_asked(monkeypatch, tmp_path):
    monkeypatch.setattr(host, "_allowed_cpus", lambda: list(range(10)))
    monkeypatch.setattr(host, "_CGROUP", tmp_path)
    # Node 0 has four logical processors on two cores, node 1 six on three, and the process may use them all.
    monkeypatch.setattr(host, "_siblings", lambda cpu: f"{cpu // 2}")
    monkeypatch.setattr(host, "_node", lambda cpu: "node0" if cpu < 4 else "node1")
    assert Settings.of({}) == Settings(threads=3, cpus=(4, 5, 6, 7, 8, 9))
    assert Settings.of({"numa": "all"}) == Settings(threads=5)
    assert Settings.of({"threads": "7"}).threads == 7
    monkeypatch.setattr(host, "_node", lambda cpu: "")
    assert Settings.of({}) == Settings(threads=5)


def test_memory_follows_the_control_group(monkeypatch, tmp_path):
    monkeypatch.setattr(host, "_CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text(f"{1 << 30}\n")
    (tmp_path / "memory.current").write_text(f"{600 << 20}\n")
    (tmp_path / "memory.stat").write_text(f"anon 1\ninactive_file {100 << 20}\n")
    assert host.total_memory_bytes() == 1 << 30
    assert host.free_memory_bytes() == (1 << 30) - (500 << 20)


def test_capabilities_are_consistent(device):
    able = device.capabilities
    assert "f32" in able.compute_dtypes and able.dynamic_shapes
    for form in able.cache_forms:
        assert (form.block_multiple, form.block_maximum) == (32, 32)
        assert set(form.compute_dtypes) <= set(able.compute_dtypes)
    assert [form.name for form in able.cache_forms if not form.stable] == ["u8"]
    memory = device.memory()
    assert 0 < memory.free <= memory.total and memory.host


def attention_graph(width: int, dtype: str = "f32", soft_cap: float | None = None):
    build = GraphBuilder("attention", dtype)
    tokens = build.input("tokens", ("T",))
    rows = build.input("outputs", ("N",))
    build.cache_group(CacheGroup("full", (0,), 1, width, width))
    table = build.weight("table", (16, width))
    x = build.op("embed", tokens, weights={"table": table})
    heads = build.op("reshape", x, shape=(1, width))
    y = build.op("attention_write", heads, heads, heads, layer=0, scale=1.0, soft_cap=soft_cap)
    y = build.op("take_rows", build.op("reshape", y, shape=(width,)), rows)
    build.output("logits", build.op("linear", y, weights={"weight": table}))
    return build.build()


def refusals(device, graph):
    return [support.reason for support in device.supports(graph) if support.kernel is None]


def test_head_widths_that_go_wrong_are_refused_before_loading(device):
    assert refusals(device, attention_graph(64)) == []
    if "bf16" in device.capabilities.compute_dtypes:
        (reason,) = refusals(device, attention_graph(63, "bf16"))
        assert "head width 63" in reason


def test_soft_caps_are_refused(device):
    (reason,) = refusals(device, attention_graph(64, soft_cap=30.0))
    assert "soft cap" in reason


def test_dtypes_that_go_wrong_are_refused(device):
    for dtype in {"f16", "bf16"} - set(device.capabilities.compute_dtypes):
        graph = attention_graph(64, dtype)
        reasons = refusals(device, graph)
        assert len(reasons) == len(graph.nodes) and "--dtype" in reasons[0]


def test_a_cache_beyond_memory_is_refused(device, tmp_path):
    graph = make_graph(device, write_checkpoint(tmp_path / "m"))
    from dovetail.weights import random_weights

    model = device.load(graph, random_weights(graph))
    with pytest.raises(OutOfMemory, match="--kv-cache-memory"):
        model.allocate(KVLayout(32, "f32", graph.cache), (1 << 40,))
    model.allocate(KVLayout(32, "f32", graph.cache), (8,))
    shape = Shape(64, 4, 4, 8)
    before = model.workspace(shape)
    model.compile(shape)
    assert before > model.workspace(shape) > 0
    model.close()
    model.close()
    with pytest.raises(PlatformError, match="closed"):
        model.allocate(KVLayout(32, "f32", graph.cache), (8,))
