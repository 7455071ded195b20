"""The platform `acme` for Dovetail."""

from .platform import AcmePlatform

__all__ = ["AcmePlatform"]
