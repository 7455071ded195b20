"""What to say about a model's name that is none."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from dovetail.errors import CheckpointError
from dovetail.weights.checkpoint import DEMO

from .settings import suggestion


@contextlib.contextmanager
def named_model(model: str) -> Iterator[None]:
    """Add a did-you-mean to an error about a model that is not there."""
    try:
        yield
    except CheckpointError as error:
        close = _close(model)
        if not close:
            raise
        raise CheckpointError(f"{error}{close}") from error


def _close(model: str) -> str:
    path = Path(model)
    try:
        if path.exists():
            return ""
        beside = [
            str(entry) for entry in path.parent.iterdir() if (entry / "config.json").is_file()
        ]
    except OSError:
        beside = []
    return suggestion(model, [DEMO, *beside])
