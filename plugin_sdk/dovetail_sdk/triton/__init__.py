"""Triton kernels that platforms with torch tensors share, keyed by op.

    kernels(architecture)   op -> Kernel, for the runner's table
    SAMPLING                edit, mask and draw, for a sampler on the device
    FUSED                   fused ops that are among them, for Capabilities.fused_ops

Every kernel module has launchers (shapes, units and source in their docstrings), the kernels themselves, and a tuning
table of the same name: parameters per architecture and width, chosen before serving, so that nothing is tried out while
it runs. Launchers never synchronise and take grids from shapes alone, so that they can be captured in a graph.

Without a device: Triton's interpreter gives the numbers (emulation.py makes them exact), and offline.py has the real
compilers of all targets say what became of each kernel. What has run on which chip is in the tuning tables.
"""

from triton import knobs

from .kernels import kernels
from .ops import FUSED
from .sampling import SAMPLING

if knobs.runtime.interpret:  # TRITON_INTERPRET=1 was set before Triton was first imported
    from .emulation import install

    install()

__all__ = ["FUSED", "SAMPLING", "kernels"]
