"""Meshes of devices that are one process each; the core sees one Device.

Every member gets the same calls, a step's arrays through memory that all of them see, and does the same in the same order;
collectives between them are the members' own business. A member that ends, or fails in a step, is DeviceLost for the mesh.

    device     MeshDevice
    processes  starting members, calling them, noticing that one has ended
    member     what a member does
    channel    messages through shared memory
    weights    a member's part of a divided graph's weights; remote how it reads them
"""

from .device import MeshDevice
from .weights import LocalSource

__all__ = ["LocalSource", "MeshDevice"]
