"""The kernel-table runner: a graph executed node by node on a platform's own kernels and arrays.

A platform brings a Backend (its arrays) and a table op -> Kernel; `KernelDevice` is then a whole device of the
contract: slot registers, paged cache, copies, checks of every batch, sampling on the host. What it is not: a compiler.
A platform that wants the graph whole implements the contract itself.

    backend.py  Backend: empty, upload, download, and what has a default
    host.py     NumpyBackend, for kernels in NumPy
    kernel.py   Kernel, NodeWeights
    cache.py    Layer, Step, PagedCache: what cached kernels read and write
    call.py     a graph as a list of calls
    program.py  one step
    device.py   KernelDevice and its models
"""

from .backend import FINISHED, NUMPY_TYPES, Backend, Event
from .cache import Layer, PagedCache, Step
from .device import KernelDevice, KernelModel
from .host import NumpyBackend, host_memory
from .kernel import Kernel, NodeWeights, revisions
from .program import KernelPending, KernelProgram
from .state import GraphState, ModelState

__all__ = [
    "FINISHED",
    "NUMPY_TYPES",
    "Backend",
    "Event",
    "GraphState",
    "Kernel",
    "KernelDevice",
    "KernelModel",
    "KernelPending",
    "KernelProgram",
    "Layer",
    "ModelState",
    "NodeWeights",
    "NumpyBackend",
    "PagedCache",
    "Step",
    "host_memory",
    "revisions",
]
