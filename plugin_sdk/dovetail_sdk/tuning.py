"""Tuning tables: parameters of kernels as data, beside the kernel's source (attention.cl, attention.toml).

    measured = "script and device that these numbers come from"

    [[entry]]
    architecture = "gfx1100"          # "*" for any
    at_most = { D = 128, T = 16 }     # widths; one that is left out may be anything
    parameters = { tile = 64, warps = 4 }

Entries are tried in the order of the file, and the first that fits is taken: from narrow to wide, any architecture last.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dovetail.errors import PlatformBroken

Parameter = int | float | str | bool


@dataclass(frozen=True, slots=True)
class Entry:
    """Parameters for an architecture and widths up to a limit."""

    architecture: str
    at_most: Mapping[str, int]
    parameters: Mapping[str, Parameter]

    def fits(self, architecture: str, widths: Mapping[str, int]) -> bool:
        """Whether it is for this architecture, and every width that it limits was given and is within."""
        return self.architecture in ("*", architecture) and all(
            name in widths and widths[name] <= limit for name, limit in self.at_most.items()
        )


@dataclass(frozen=True, slots=True)
class TuningTable:
    """The entries of a file.

    measured  how: a script and a device
    """

    path: str
    measured: str
    entries: tuple[Entry, ...]

    def find(self, architecture: str, **widths: int) -> Mapping[str, Parameter]:
        """Parameters of the first entry that fits; PlatformBroken if none does."""
        for entry in self.entries:
            if entry.fits(architecture, widths):
                return entry.parameters
        known = ", ".join(dict.fromkeys(entry.architecture for entry in self.entries))
        raise PlatformBroken(
            f"{self.path} has no entry for {architecture} with {dict(widths)} (architectures: {known})"
        )


def load_tuning(path: Path) -> TuningTable:
    """Read a table. Raises PlatformBroken that names the file and what is wrong in it."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        unknown = sorted(set(data) - {"measured", "entry"})
        if unknown:
            raise ValueError(f"unknown keys {', '.join(unknown)}")
        return TuningTable(
            str(path), str(data["measured"]), tuple(_entry(entry) for entry in data["entry"])
        )
    except KeyError as error:
        raise PlatformBroken(f"{path} cannot be used: {error.args[0]} is missing") from None
    except (OSError, ValueError) as error:  # what is not TOML is a ValueError too
        raise PlatformBroken(f"{path} cannot be used: {error}") from None


def _entry(fields: dict[str, Any]) -> Entry:
    if unknown := sorted(set(fields) - {"architecture", "at_most", "parameters"}):
        raise ValueError(f"an entry has unknown keys {', '.join(unknown)}")
    return Entry(fields["architecture"], fields.get("at_most", {}), fields["parameters"])
