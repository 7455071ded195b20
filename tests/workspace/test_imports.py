"""The core imports no framework, and importing it imports no plugin: looked at in a bare interpreter."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import dovetail
import pytest

FRAMEWORKS = {"torch", "jax", "triton", "pyopencl", "openvino", "transformers", "tensorflow"}
LIGHT = {"dovetail.graph", "dovetail.cache", "dovetail.scheduler"}
HEAVY_FOR_LIGHT = {"msgspec", "ml_dtypes", "jinja2", "tokenizers", "starlette", "uvicorn"}


def core_modules() -> list[str]:
    found = pkgutil.walk_packages(dovetail.__path__, "dovetail.")
    return sorted(module.name for module in found if not module.name.endswith("__main__"))


def imported_by(*modules: str) -> set[str]:
    """Top-level packages in sys.modules after importing modules, in an interpreter of its own."""
    program = f"import importlib, json, sys\nfor m in {modules!r}: importlib.import_module(m)\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_no_core_module_imports_a_framework_or_a_plugin():
    modules = core_modules()
    assert len(modules) > 40
    loaded = {name.partition(".")[0] for name in imported_by(*modules)}
    assert not loaded & (FRAMEWORKS | {"dovetail_sdk", "dovetail_cpu", "dovetail_tpu"})


@pytest.mark.parametrize("package", sorted(LIGHT))
def test_graph_cache_and_scheduler_need_numpy_alone(package: str):
    modules = [name for name in core_modules() if name == package or name.startswith(package + ".")]
    loaded = {name.partition(".")[0] for name in imported_by(*modules)}
    assert not loaded & HEAVY_FOR_LIGHT


def test_importing_dovetail_is_light():
    loaded = imported_by("dovetail")
    assert not {"numpy", "msgspec", "tokenizers"} & {name.partition(".")[0] for name in loaded}


def test_no_core_source_names_a_framework_module():
    root = Path(dovetail.__path__[0])
    for path in root.rglob("*.py"):
        for line in path.read_text().splitlines():
            words = line.split()
            if words[:1] in (["import"], ["from"]):
                assert words[1].partition(".")[0] not in FRAMEWORKS, f"{path}: {line}"
