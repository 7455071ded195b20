"""Meshes of devices that are one process each; the core sees one Device.

weights  a member's part of a divided graph's weights
"""

from .weights import LocalSource

__all__ = ["LocalSource"]
