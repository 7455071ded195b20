"""The toy platform: two kernels of its own, in NumPy."""

from .platform import ToyPlatform

__all__ = ["ToyPlatform"]
