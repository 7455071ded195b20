"""What an AMD chip is to the kernels: the one file that reads the architecture."""

from __future__ import annotations

from dovetail_sdk.gpu import Chip

FP8 = {"gfx942": "e4m3fnuz", "gfx950": "e4m3fn", "gfx1201": "e4m3fn"}
"""The 8-bit float that a chip converts itself. To the others fp8 weights are moved bit by bit, and a cache is not kept in it."""


def chip(architecture: str) -> Chip:
    """For the driver's ARCHITECTURES, and for what stands in for one, in the manner of gfx942."""
    stands_in = Chip(architecture, library="hipBLASLt", fp8=FP8["gfx942"])
    if stands_in.stands_in:
        return stands_in
    return Chip(architecture, library="hipBLASLt", fp8=FP8.get(architecture))
