"""`dovetail plugin new`: a complete distribution of a platform, as files with the vendor's name in them.

templates/ is the plugin of a vendor called acme; `create` writes it under another name. "dot_" at the front of a
file's name stands for a dot, ".in" at its end for nothing.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path

from dovetail.errors import ConfigError

TEMPLATES = Path(__file__).parent / "templates"
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def create(name: str, directory: Path, *, taken: Collection[str] = ()) -> Path:
    """Write the distribution dovetail-NAME into a new folder below `directory` and return the folder.

    taken  names of the platforms that are installed

    Raises ConfigError for a name that cannot be used, or where the folder holds something.
    """
    check_name(name, taken)
    project = directory / distribution(name)
    if project.exists() and any(project.iterdir()):
        raise ConfigError(f"{project} is there and not empty; remove it or choose --directory")
    for source, target in files(name):
        path = project / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(named(source.read_text(encoding="utf-8"), name), encoding="utf-8")
    return project


def check_name(name: str, taken: Collection[str]) -> None:
    """ConfigError, with the reason, unless a new platform can be called that."""
    if not NAME.fullmatch(name) or keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise ConfigError(
            f"a platform cannot be called {name!r}: a name is small letters, digits and single _, begins with a letter "
            "and is no word of Python"
        )
    if name in taken:
        raise ConfigError(f"a platform called {name!r} is installed; choose another name")
    if find_spec(f"dovetail_{name}") is not None:
        raise ConfigError(f"a package dovetail_{name} is installed; choose another name")


def files(name: str) -> list[tuple[Path, Path]]:
    """Every template and where it goes, relative to the project."""
    found = sorted(
        path
        for path in TEMPLATES.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    )
    return [(path, _target(path.relative_to(TEMPLATES), name)) for path in found]


def _target(template: Path, name: str) -> Path:
    parts = [re.sub("^dot_", ".", named(part, name)) for part in template.parts]
    return Path(*parts[:-1], parts[-1].removesuffix(".in"))


def named(text: str, name: str) -> str:
    """A text about acme, about another."""
    words = {
        "dovetail-acme": distribution(name),
        "Acme": "".join(part.capitalize() for part in name.split("_")),
        "acme": name,
    }
    return re.sub("|".join(words), lambda found: words[found.group()], text)


def distribution(name: str) -> str:
    """Name of the distribution."""
    return f"dovetail-{name.replace('_', '-')}"
