"""The arrays of the device."""

from __future__ import annotations

from dovetail_sdk.runner import NumpyBackend


class AcmeBackend(NumpyBackend):
    """NumPy arrays on the host, so that everything runs before the device does.

    For arrays of your own, derive from `dovetail_sdk.runner.Backend` and write `empty`, `upload`, `download` and
    `memory`; the other methods have defaults.
    """
