"""Plugins and the SDK import nothing of the core but the contract: read from their sources, lazy imports included."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from projects import EXAMPLES, ROOT

PUBLIC = {"dovetail.platform", "dovetail.graph", "dovetail.graph.passes", "dovetail.errors"}
LIBRARY = {"dovetail.models", "dovetail.LLM"}
SDK = ROOT / "plugin_sdk" / "dovetail_sdk"
CONFORMANCE = SDK / "conformance"
PLATFORMS = sorted((ROOT / "platforms").glob("*/dovetail_*"))
PLUGINS = [*PLATFORMS, *sorted(EXAMPLES.glob("*/dovetail_*")), SDK / "scaffold" / "templates"]


def core_imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module or name) of everything that a file imports from the core, at the top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "dovetail":
                    yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            if node.module == "dovetail":
                yield from ((node.lineno, f"dovetail.{alias.name}") for alias in node.names)
            elif node.module.startswith("dovetail."):
                yield node.lineno, node.module
                yield from (
                    (node.lineno, f"{node.module}.{alias.name}")
                    for alias in node.names
                    if alias.name.startswith("_")
                )
        elif isinstance(node, ast.Call) and _imports(node):
            argument = node.args[0]
            if isinstance(argument, ast.Constant) and str(argument.value).startswith("dovetail."):
                yield node.lineno, str(argument.value)


def _imports(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return name in ("import_module", "__import__") and bool(call.args)


def allowed(module: str, path: Path) -> bool:
    """The contract's modules and the graph's passes; conformance also builds models, as any user may."""
    return module in PUBLIC or (path.is_relative_to(CONFORMANCE) and module in LIBRARY)


@pytest.mark.parametrize("package", [SDK, *PLUGINS], ids=lambda path: path.name)
def test_private_imports_of_the_core_are_none(package: Path):
    files = sorted(package.rglob("*.py"))
    assert files
    private = [
        f"{path.relative_to(ROOT)}:{line}: {module}"
        for path in files
        for line, module in core_imports(path)
        if not allowed(module, path)
    ]
    assert private == []


def test_the_scan_sees_every_way_to_import(tmp_path):
    file = tmp_path / "plugin.py"
    file.write_text(
        "import dovetail.engine\n"
        "from dovetail import models\n"
        "from dovetail.cache import BlockPool\n"
        "from dovetail.platform import _hidden\n"
        "def late():\n"
        "    import importlib\n"
        "    from dovetail.scheduler import plan\n"
        "    importlib.import_module('dovetail.text')\n"
        "from dovetail.platform import Platform\n"
    )
    assert [module for _, module in core_imports(file) if not allowed(module, file)] == [
        "dovetail.engine",
        "dovetail.models",
        "dovetail.cache",
        "dovetail.platform._hidden",
        "dovetail.scheduler",
        "dovetail.text",
    ]
