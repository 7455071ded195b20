"""measured.toml, read once: choices that come from measurements and not from the code."""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path
from typing import Any


def terms(kind: str, precision: str) -> int:
    """Of int8 that an activation is split into beside weights of a WeightForm's kind, by --precision."""
    return int(_tables()[kind]["terms"][precision])


def activation_group() -> int:
    """Inputs that share a scale where OpenVINO quantises activations on the fly."""
    return int(_tables()["openvino"]["activation_group"])


@functools.cache
def _tables() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
