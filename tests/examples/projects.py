"""Plugins that are folders and not installed: imported afresh from where they are."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path

from dovetail.platform import Platform
from dovetail.plugins import GROUP

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "plugin_sdk" / "examples"


@contextmanager
def project(folder: Path, package: str) -> Iterator[None]:
    """Inside, the project's package can be imported; afterwards it is forgotten."""
    forget(package)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        forget(package)


def forget(package: str) -> None:
    """Let the next import read the files again."""
    for module in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[module]


def platform_of(package: str, name: str) -> Platform:
    """The platform that a package names in itself."""
    module = importlib.import_module(package)
    (kind,) = (getattr(module, member) for member in module.__all__)
    made: Platform = kind()
    assert made.name == name
    return made


def entry_point(package: str, name: str, kind: str) -> EntryPoint:
    """What an installed distribution would have."""
    return EntryPoint(name, f"{package}:{kind}", GROUP)
