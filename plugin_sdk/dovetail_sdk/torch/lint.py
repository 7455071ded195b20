"""A check that work can be captured: it asks nothing of the device and brings nothing from the host while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from .capture import Capture, Captured, RecordingCapture, Work

FROM_HOST = frozenset(
    {"aten::lift_fresh", "aten::lift_fresh_copy", "aten::lift", "aten::pin_memory"}
)
"""Ops that make a tensor of Python's numbers, or host memory."""


class NotCapturable(RuntimeError):
    """An op that a captured graph cannot hold, or would hold with the numbers of its first run."""


class CaptureLint(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Raises NotCapturable for ops whose result depends on numbers the host has to read, and for numbers of the host.

    On any device, the host included: what `.item()`, `if tensor`, `nonzero`, a boolean index or `torch.tensor(...)` become.

    from_host  numbers of the host may be brought: the step is issued and not captured, and waits for nothing all the same
    """

    def __init__(self, *, from_host: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._from_host = from_host

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name = func._schema.name
        if waits(func, name, args):
            raise NotCapturable(f"{name} waits for the device")
        if name in FROM_HOST and not self._from_host:
            raise NotCapturable(f"{name} brings numbers of the host")
        return func(*args, **(kwargs or {}))


def waits(func: Any, name: str, args: Sequence[Any]) -> bool:
    """Whether the host has to read what the device computed; an index does where it is a mask."""
    if name in ("aten::index", "aten::index_put", "aten::index_put_"):
        return any(at is not None and at.dtype in (torch.bool, torch.uint8) for at in args[1])
    tags = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
    return bool(tags.intersection(func.tags))


class LintingCapture(Capture):
    """A RecordingCapture under the lint."""

    def __init__(self) -> None:
        self.recording = RecordingCapture()

    def capture(self, work: Work) -> Captured:
        captured = self.recording.capture(work)
        with CaptureLint():
            captured.launch()
        return captured
