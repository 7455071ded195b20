"""What a model's files say about it, for dialects whose clients show it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """Read once, when the server starts.

    architecture  of config.json
    family        model_type of config.json
    size_bytes    of the weights' files
    modified      seconds since 1970 when they were last written
    digest        sha256, hexadecimal, of the configuration and of names and sizes of the weights' files
    config        the numbers and words of config.json, without what is nested
    """

    architecture: str = ""
    family: str = ""
    size_bytes: int = 0
    modified: float = 0.0
    digest: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)


def model_facts(directory: Path, config: Mapping[str, Any]) -> ModelFacts:
    """Of a model's directory; raises OSError if its files cannot be seen."""
    files = sorted(directory.glob("*.safetensors"))
    sizes = {file.name: file.stat().st_size for file in files}
    told = json.dumps([config, sizes], sort_keys=True, default=str)
    architectures = config.get("architectures")
    first = architectures[0] if isinstance(architectures, list) and architectures else ""
    flat = {k: v for k, v in config.items() if isinstance(v, bool | int | float | str)}
    return ModelFacts(
        architecture=str(first),
        family=str(config.get("model_type", "")),
        size_bytes=sum(sizes.values()),
        modified=max((file.stat().st_mtime for file in files), default=0.0),
        digest=hashlib.sha256(told.encode()).hexdigest(),
        config=flat,
    )
