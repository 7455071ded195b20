"""What an NVIDIA chip is to the kernels: the one file that reads the architecture."""

from __future__ import annotations

from dovetail_sdk.gpu import Chip

WITHOUT_FP8 = ("sm_80", "sm_86", "sm_87")
"""Ampere: fp8 weights are moved bit by bit, and a cache is not kept in it."""


def chip(architecture: str) -> Chip:
    """For "sm_80" and newer, and for what stands in for one."""
    fp8 = None if architecture in WITHOUT_FP8 else "e4m3fn"
    return Chip(architecture, library="cuBLAS", fp8=fp8)
