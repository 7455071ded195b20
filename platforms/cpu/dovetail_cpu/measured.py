"""measured.toml, read once: choices that come from measurements and not from the code."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Activations:
    """How activations are quantised.

    terms  of int8 that one is split into: 1, or 2 for 16 bits
    group  inputs that share a scale; 0: those of a group of the weights, or all
    """

    terms: int = 1
    group: int = 0


def activations(kind: str, precision: str) -> Activations:
    """Beside weights of a WeightForm's kind, by --precision."""
    return Activations(**_tables()[kind][precision])


def default_precision(kernels: str) -> str:
    """Of a set of the library's kernels, where none is asked for."""
    return str(_tables()["precision"][kernels])


def activation_group() -> int:
    """Inputs that share a scale where OpenVINO quantises activations on the fly."""
    return int(_tables()["openvino"]["activation_group"])


@functools.cache
def _tables() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
