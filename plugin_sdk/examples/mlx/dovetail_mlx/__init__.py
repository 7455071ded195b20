"""The platform `mlx`: Apple MLX, on Metal on a Mac and on the CPU elsewhere."""

from .platform import MlxPlatform

__all__ = ["MlxPlatform"]
