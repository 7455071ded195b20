"""Largest normalised mean squared errors that an op may have against the reference, by dtype."""

from __future__ import annotations

from types import MappingProxyType

EXACT = MappingProxyType({"f32": 0.0, "bf16": 0.0, "f16": 0.0})
ROUNDED = MappingProxyType({"f32": 1e-7, "bf16": 5e-5, "f16": 1e-6})
ACCUMULATED = MappingProxyType({"f32": 1e-7, "bf16": 2e-4, "f16": 5e-6})
