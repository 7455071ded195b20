"""Drawing tokens on the host with NumPy: philox.py (noise), edits.py, ranking.py, draw.py, host.py (the whole)."""

from .host import HostSampler, Peaks

__all__ = ["HostSampler", "Peaks"]
