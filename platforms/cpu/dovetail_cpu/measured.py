"""measured.toml, read once: choices that come from measurements and not from the code."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Rule:
    """When the platform's own kernels run a bf16 graph whose matrices are of one kind.

    most_bytes  of matrices, None for any; OpenVINO runs larger ones
    terms       of int8 that an activation is split into, by --precision, where there is a choice
    """

    most_bytes: int | None
    terms: Mapping[str, int]


@functools.cache
def rule(kind: str) -> Rule:
    """Of a WeightForm's kind."""
    table = _tables()[kind]
    most = table.get("most_mb")
    return Rule(
        None if most is None else most * 1_000_000,
        table.get("terms", {}),
    )


def activation_group() -> int:
    """Inputs that share a scale where OpenVINO quantises activations on the fly."""
    return int(_tables()["openvino"]["activation_group"])


@functools.cache
def _tables() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
