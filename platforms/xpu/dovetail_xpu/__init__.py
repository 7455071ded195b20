"""Dovetail on Intel GPUs, and on any other device with an OpenCL driver."""

from .platform import XpuPlatform

__all__ = ["XpuPlatform"]
