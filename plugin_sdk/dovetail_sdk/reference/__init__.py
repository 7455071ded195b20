"""The `reference` platform: every op in plain NumPy, in f32. Slow, and right: the others are held to it.

ops.py is the living definition of the ops in numbers. The platform serves small models at interactive speed, checks
every call of the engine, and needs nothing but NumPy.
"""

from .platform import ReferencePlatform

__all__ = ["ReferencePlatform"]
