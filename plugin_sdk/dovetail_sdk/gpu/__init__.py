"""What platforms for the GPUs that torch calls "cuda" share: NVIDIA's and AMD's, and stand-ins for either on the host.

A platform brings what only it knows: who is here (without torch), which of torch's devices that is and of what
architecture, and a Chip for it. Importing this imports no framework.

    chip.py       Chip: what a table of kernels is chosen for
    platform.py   GpuPlatform
    opening.py    a device of this process, as a platform's `open_one` has it
    choosing.py   which kernel runs which op, and why
    emulation.py  devices that stand for a chip
"""

from .chip import Chip
from .platform import GpuPlatform

__all__ = ["Chip", "GpuPlatform"]
