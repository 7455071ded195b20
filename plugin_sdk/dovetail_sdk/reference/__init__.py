"""The `reference` platform: every op in plain NumPy, in f32. Slow, and right: the others are held to it.

ops.py is the living definition of the ops in numbers; platform.py puts it on the kernel-table runner (dovetail_sdk.runner),
which does all the rest. The platform serves small models at interactive speed, checks every call of the engine, and
needs nothing but NumPy. host.py offers the definitions to platforms that lack kernels of their own.
"""

from .host import host_kernels
from .platform import KERNELS, ReferencePlatform

__all__ = ["KERNELS", "ReferencePlatform", "host_kernels"]
