"""Rewrites of a graph for a device: `prepare` runs them all, in order.

Each takes a graph and returns one; names of values that survive do not change.
"""

from .decompose import decompose
from .fuse import fuse
from .lower import lower
from .merge import merge_linears
from .prepare import PreparedGraph, prepare
from .shard import shard

__all__ = ["PreparedGraph", "decompose", "fuse", "lower", "merge_linears", "prepare", "shard"]
