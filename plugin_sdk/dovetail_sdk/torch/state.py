"""What a loaded model on a torch device and its programs share."""

from __future__ import annotations

import threading

import numpy as np
from dovetail.graph import Graph
from dovetail.platform import I32, Shape

from dovetail_sdk.runner import GraphState
from dovetail_sdk.runner.call import Call

from .backend import TorchBackend
from .capture import Capture
from .draw import Sampling
from .registers import DeviceRegisters
from .sampler import DeviceSampler
from .staging import Staging

MOST_CAPTURED = 512
"""Rows of the largest step that is captured; larger ones keep the device busy while they are launched."""


class TorchState(GraphState):
    """A graph whose kernels have their weights, with everything that lives on the device.

    capture  None: nothing is captured
    lock     held while something is issued or captured: a model may be compiled beside its steps
    """

    backend: TorchBackend

    def __init__(
        self,
        graph: Graph,
        steps: list[Call],
        backend: TorchBackend,
        sampling: Sampling | None = None,
        capture: Capture | None = None,
    ) -> None:
        super().__init__(graph, steps, backend)
        device = backend.device
        self.capture, self.lock = capture, threading.RLock()
        self.most_captured = MOST_CAPTURED
        self.staging = Staging(backend.queue, device)
        self.registers = DeviceRegisters(device)
        self.sampler = DeviceSampler(backend.queue, self.staging, sampling)

    def copy_blocks(self, group: int, sources: I32, targets: I32) -> None:
        """Copy whole blocks of a group, all layers, after what was issued before."""
        if not sources.size:
            return
        at = self.staging.send([np.stack([sources, targets])])[0].long()
        for array in self.cache().group_arrays(group):
            self.backend.copy_at(array, at[0], at[1])

    def workspace(self, shape: Shape) -> int:
        """Some of the widest values of a step at once, and the logits with what a draw makes of them."""
        item = 4 if self.graph.dtype == "f32" else 2
        widths = [
            int(np.prod([dim for dim in value.shape if isinstance(dim, int)], dtype=np.int64))
            for value in self.graph.values.values()
            if "T" in value.shape
        ]
        step = shape.tokens * max(widths, default=0) * (4 * item + 3 * 4)
        logits = shape.outputs * self.vocab_size
        return step + 4 * 4 * logits + 16 * 8 * min(logits, 1 << 23)
