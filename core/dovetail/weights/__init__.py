"""Weights: a model's files, and its numbers in the forms a device wants."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checkpoint import Checkpoint, open_checkpoint
    from .forms import Forms, choose_forms
    from .generation import GenerationDefaults
    from .random_source import random_weights
    from .source import CheckpointSource, open_source

__all__ = [
    "Checkpoint",
    "CheckpointSource",
    "Forms",
    "GenerationDefaults",
    "choose_forms",
    "open_checkpoint",
    "open_source",
    "random_weights",
]

_MODULES = {
    "Checkpoint": "checkpoint",
    "open_checkpoint": "checkpoint",
    "Forms": "forms",
    "choose_forms": "forms",
    "GenerationDefaults": "generation",
    "random_weights": "random_source",
    "CheckpointSource": "source",
    "open_source": "source",
}


def __getattr__(name: str) -> Any:
    """Imported when first asked for: the server process reads a checkpoint's small files and no numbers."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
