"""The torch toolkit: a whole platform for any device that torch has, in plain torch ops.

`TorchDevice(device, KERNELS, capabilities)` is a device of the contract; kernels of a platform's own replace ops by
name (`over`). Everything is issued and nothing waited for but by Pending.wait and Ticket.result.

    kernels/      every op in plain torch
    queue.py      streams, events, errors
    backend.py    arrays, weights through page-locked memory
    staging.py    a step's numbers in one copy
    step.py       DeviceStep: what cached kernels are told
    inputs.py     a Batch as a graph's inputs, exact or padded to a bucket
    capture.py    captured work, and the buckets; lint.py whether work can be captured
    program.py    issuing steps
    registers.py  the token that each slot sampled last
    sampler.py    sampling on the device; draw.py and philox.py what it computes
    blocks.py     block transfer
    fp8.py        8-bit floats
    device.py     TorchDevice

A kernel's `call` takes the op's inputs, then by name its weights, its attributes and, for layered ops, cache=Layer and
step=DeviceStep; it returns new tensors (kv_write None). It never waits for the device nor reads a number of it, takes grid
sizes from shapes and from DeviceStep's whole numbers alone, and takes inputs whose rows may lie further apart than they are
wide (pieces of `split`). Values are in the graph's type, results may be f32: the runner rounds them.
"""

from .backend import TYPES, TorchBackend
from .capture import Capture, Captured, CudaCapture, RecordingCapture
from .choose import either, over
from .device import TorchDevice
from .kernels import KERNELS
from .step import DeviceStep

__all__ = [
    "KERNELS",
    "TYPES",
    "Capture",
    "Captured",
    "CudaCapture",
    "DeviceStep",
    "RecordingCapture",
    "TorchBackend",
    "TorchDevice",
    "either",
    "over",
]
