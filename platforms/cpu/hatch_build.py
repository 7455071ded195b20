"""Compiles the kernel library into the package while it is installed or packed; without a compiler it says so."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_BUILD = Path(__file__).parent / "dovetail_cpu" / "native" / "build.py"


class KernelLibrary(BuildHookInterface):  # type: ignore[type-arg]
    """Runs for wheels, editable ones included."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        spec = importlib.util.spec_from_file_location("build", _BUILD)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if reason := module.build():
            self.app.display_warning(f"dovetail-cpu: no kernels of its own: {reason}")
            return
        build_data["artifacts"].append(f"dovetail_cpu/native/{module.LIBRARY.name}")
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
