"""Platforms on OpenCL: everything below the kernels.

    driver.py    the devices here, by name, and what each can do
    machine.py   an open device: queue, memory, time per kernel
    array.py     Array: memory, shape, distance between rows
    staging.py   small arrays on their way to the device
    transfer.py  results on their way back
    programs.py  OpenCL C built, and kept on disk
    backend.py   OpenclBackend for the kernel-table runner
    sampler.py   registers of slots and sampling on the device
    device.py    OpenclDevice, its models and its steps

A platform brings a table of kernels (dovetail_sdk.runner.Kernel) that issue to the backend's machine. pyopencl is imported by
the first call of `find` or `opencl`, never with this package.
"""

from .array import TYPES, Array, temporary
from .backend import OpenclBackend
from .device import STEPS_IN_FLIGHT, OpenclDevice
from .driver import Features, Found, features_of, find, opencl
from .machine import Machine
from .programs import SOURCE, Function, Programs, buffers, cache_folder, text_of

__all__ = [
    "SOURCE",
    "STEPS_IN_FLIGHT",
    "TYPES",
    "Array",
    "Features",
    "Found",
    "Function",
    "Machine",
    "OpenclBackend",
    "OpenclDevice",
    "Programs",
    "buffers",
    "cache_folder",
    "features_of",
    "find",
    "opencl",
    "temporary",
    "text_of",
]
