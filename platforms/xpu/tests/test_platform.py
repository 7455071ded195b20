"""Who is here, what is promised, and what is said where something is missing."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dovetail import LLM
from dovetail.errors import PlatformBroken, PlatformError
from dovetail.platform import DeviceInfo
from dovetail_sdk.opencl import Features, Machine, Programs, features_of, find, programs
from dovetail_xpu.platform import XpuPlatform
from dovetail_xpu.select import choose, taken_for_gpu

PROBE = "from dovetail_xpu import XpuPlatform as P; p = P(); print(p.rank, p.probe())"


def run(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )


def test_without_a_driver_one_sentence_says_so(tmp_path):
    done = run(PROBE, OCL_ICD_VENDORS=str(tmp_path), OCL_ICD_FILENAMES="")
    assert done.returncode == 0, done.stderr
    assert "None" in done.stdout and "no OpenCL driver" in done.stdout
    assert "pocl-opencl-icd" in done.stdout


def test_without_pyopencl_one_sentence_says_so():
    done = run(f"import sys; sys.modules['pyopencl'] = None; {PROBE}")
    assert "pip install pyopencl" in done.stdout, done.stderr


def test_a_device_that_went_away_is_named(pocl):
    gone = DeviceInfo(id="pocl-7", description="")
    with pytest.raises(PlatformError, match="xpu:pocl-7"):
        XpuPlatform().open([gone])
    with pytest.raises(PlatformError, match="exactly one"):
        XpuPlatform().open([gone, gone])


def test_only_an_intel_gpu_is_taken_unnamed(pocl):
    platform = XpuPlatform()
    assert "pocl" in [info.id for info in platform.probe()]
    assert (platform.rank is not None) == any(found.intel_gpu for found in find())


def test_a_device_without_half_computes_in_it_all_the_same(pocl, device):
    assert not pocl.features.fp16
    assert set(device.capabilities.compute_dtypes) == {"f32", "bf16", "f16"}


def test_extensions_choose_the_variants(pocl):
    assert features_of("cl_khr_fp64 cl_khr_fp16") == Features(fp16=True)
    names = "cl_intel_subgroups cl_intel_required_subgroup_size cl_khr_integer_dot_product"
    assert features_of(names) == Features(subgroups=True, dot=True)
    assert choose(pocl, 2).subgroup == 0


def test_a_program_that_does_not_build_is_one_sentence_and_a_log(pocl, tmp_path):
    broken = tmp_path / "broken.cl"
    broken.write_text("__kernel void broken(__global float *x) { x[0] = nonsense; }")
    programs = Programs(Machine(pocl), None)
    with pytest.raises(
        PlatformBroken, match=r"broken\.cl does not build on .*; the compiler's log is "
    ) as raised:
        programs.function(broken, "broken", "b")
    message = str(raised.value)
    assert "\n" not in message
    log = Path(message.rpartition(" ")[2])
    assert "nonsense" in log.read_text()
    log.unlink()


def test_programs_are_kept_between_processes(pocl, tmp_path):
    source = tmp_path / "one.cl"
    source.write_text("__kernel void one(__global float *x) { x[get_global_id(0)] = 1.0f; }")
    folder = tmp_path / "kept"
    for _ in range(2):
        programs = Programs(Machine(pocl), folder)
        programs.function(source, "one", "b")
        (entry,) = folder.iterdir()
    entry.write_bytes(b"damaged")
    Programs(Machine(pocl), folder).function(source, "one", "b")
    assert entry.read_bytes() != b"damaged"


def test_a_cpu_can_be_taken_for_a_gpu_by_name(pocl):
    platform = XpuPlatform()
    lanes = next(info for info in platform.probe() if info.id == "pocl-lanes")
    assert lanes.emulated and "a GPU's kernels" in lanes.description
    plain = choose(pocl, 2)
    assert not plain.lane and choose(taken_for_gpu(pocl), 2).lane
    able = replace(pocl, features=Features(fp16=True, subgroups=True))
    chosen = choose(taken_for_gpu(able), 2)
    assert chosen.matrix and chosen.emulated


def test_the_time_of_every_kernel_is_logged_where_it_is_asked_for(pocl, caplog):
    platform = XpuPlatform()
    infos = [info for info in platform.probe() if info.id == "pocl"]
    for wanted in ("off", "on"):
        caplog.clear()
        device = platform.open_with(infos, {"profile": wanted})
        backend = device._opencl
        backend.copy(backend.empty((4, 8), "f32"), np.array([1], np.int32), np.array([2], np.int32))
        device.close()
        found = re.findall(r"kernel=copy_blocks calls=1 seconds=[\d.]+", caplog.text)
        assert len(found) == (wanted == "on")


def test_a_kept_program_is_not_taken_for_another_options_device_or_driver(pocl, tmp_path):
    source = tmp_path / "one.cl"
    source.write_text("__kernel void one(__global float *x) { x[0] = NUMBER; }")
    folder, machine = tmp_path / "kept", Machine(pocl)
    programs = Programs(machine, folder)
    programs.function(source, "one", "b", NUMBER=1)
    programs.function(source, "one", "b", NUMBER=2)
    assert len(list(folder.iterdir())) == 2
    for field in ("_device", "_compiler"):
        other = Programs(machine, folder)
        setattr(other, field, "of another make")
        other.function(source, "one", "b", NUMBER=1)
    assert len(list(folder.iterdir())) == 4


def test_a_model_whose_kernels_do_not_build_is_refused_in_one_sentence(pocl, monkeypatch):
    """With a compiler that refuses everything, as after a broken update of the driver."""
    whole = programs.text_of
    monkeypatch.setattr(programs, "text_of", lambda path: whole(path) + "\n#error it is broken\n")
    with pytest.raises(PlatformError, match=r"\.cl does not build on .*: .*it is broken") as raised:
        LLM("demo", platform="xpu:pocl")
    message = str(raised.value)
    assert "\n" not in message
    log = Path(message.rpartition("the compiler's log is ")[2])
    assert "it is broken" in log.read_text()
    log.unlink()
