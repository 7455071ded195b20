"""Whatever implements a platform imports the contract and the SDK, and nothing else of the core: in-tree or not."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = ("dovetail.platform", "dovetail.graph", "dovetail.errors")
PUBLIC_FOR_SUITES = ("dovetail.models",)
SUITE = ROOT / "plugin_sdk/dovetail_sdk/conformance"
PACKAGES = sorted(
    path.parent
    for pattern in (
        "plugin_sdk/dovetail_*/__init__.py",
        "plugin_sdk/examples/*/dovetail_*/__init__.py",
        "platforms/*/dovetail_*/__init__.py",
    )
    for path in ROOT.glob(pattern)
)


def of_core(source: str) -> Iterator[str]:
    """Modules of the core that a source imports, also within functions; names behind `from dovetail import`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = inner if node.module == "dovetail" else [node.module]
        else:
            continue
        yield from (name for name in names if name.partition(".")[0] == "dovetail")


def private(source: str, public: tuple[str, ...] = PUBLIC) -> list[str]:
    """Those that are not the contract; a name with an underscore is private wherever it is."""
    return [
        name
        for name in of_core(source)
        if not any(name == module or name.startswith(f"{module}.") for module in public)
        or any(part.startswith("_") for part in name.split("."))
    ]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_private_imports_of_the_core_are_none(package: Path):
    sources = sorted(package.rglob("*.py"))
    assert sources
    found = {}
    for path in sources:
        public = PUBLIC + PUBLIC_FOR_SUITES if path.is_relative_to(SUITE) else PUBLIC
        found[str(path.relative_to(ROOT))] = private(path.read_text(encoding="utf-8"), public)
    assert {path: names for path, names in found.items() if names} == {}


def test_the_check_sees_what_it_should():
    source = """
import dovetail.engine
from dovetail import LLM, platform
from dovetail.platform import Device
def late():
    from dovetail.plugins import select
import dovetail_sdk, dovetail.graph.ops
from . import platform
"""
    assert private(source) == ["dovetail.engine", "dovetail.LLM", "dovetail.plugins"]


def test_the_packages_of_this_tree_are_found():
    names = {package.name for package in PACKAGES}
    assert {"dovetail_sdk", "dovetail_cpu", "dovetail_toy", "dovetail_mlx"} <= names
