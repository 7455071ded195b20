"""Conformance of third-party plugins (ci/downstream.toml) against this tree, each in a fresh environment.

python ci/downstream.py [PLATFORM ...]
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OURS = ("core", "plugin_sdk")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """One entry; the fields are explained there."""

    platform: str
    source: str
    arguments: str = ""

    def requirement(self) -> str:
        """What pip is told to install."""
        directory = ROOT / self.source
        return str(directory) if directory.is_dir() else self.source


def read(path: Path = ROOT / "ci/downstream.toml") -> tuple[Plugin, ...]:
    """All entries."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return tuple(Plugin(**entry) for entry in table["plugin"])


def conforms(plugin: Plugin, directory: Path) -> bool:
    """Install a plugin beside this tree's core and SDK, and run conformance on it."""
    venv.create(directory, with_pip=True)
    python = str(directory / "bin/python")
    ours = [str(ROOT / part) for part in OURS]
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    test = [python, "-m", "dovetail.cli.main", "conformance", plugin.platform]
    commands = (
        [*install, *ours, "pytest"],
        [*install, plugin.requirement()],
        [python, "-m", "dovetail.cli.main", "platforms"],
        [*test, *shlex.split(plugin.arguments)],
    )
    return all(subprocess.run(command, cwd=directory).returncode == 0 for command in commands)


def run(plugins: Sequence[Plugin]) -> int:
    """1 if one does not conform."""
    failed = []
    for plugin in plugins:
        print(f"{plugin.platform}: {plugin.source}", flush=True)
        with tempfile.TemporaryDirectory(prefix="downstream-") as directory:
            if not conforms(plugin, Path(directory)):
                failed.append(plugin.platform)
    print(f"failed: {', '.join(failed)}" if failed else f"all {len(plugins)} conform")
    return int(bool(failed))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("platform", nargs="*", help="which; all if left out")
    named = parser.parse_args().platform
    return run([plugin for plugin in read() if not named or plugin.platform in named])


if __name__ == "__main__":
    sys.exit(main())
