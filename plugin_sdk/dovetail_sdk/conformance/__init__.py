"""Conformance: checks that prove a platform, layer by layer. Runnable three ways, with the same result.

    pytest --pyargs dovetail_sdk.conformance --platform NAME[:device]
    dovetail conformance NAME [--ops RE] [--layer L] [--json | --csv] [--emulated]

and from a plugin's own tests:

    from dovetail_sdk.conformance import suite

    globals().update(suite("acme"))

In process, on a platform that is not installed: `run(platform) -> Scorecard`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .check import Check, Failed, Outcome, Unsupported
    from .context import Context
    from .engine import checks, run, run_check, support
    from .front import suite
    from .scorecard import Scorecard

_HOMES = {
    "Check": "check",
    "Context": "context",
    "Failed": "check",
    "Outcome": "check",
    "Scorecard": "scorecard",
    "Unsupported": "check",
    "checks": "engine",
    "run": "engine",
    "run_check": "engine",
    "suite": "front",
    "support": "engine",
}

__all__ = [
    "Check",
    "Context",
    "Failed",
    "Outcome",
    "Scorecard",
    "Unsupported",
    "checks",
    "run",
    "run_check",
    "suite",
    "support",
]


def __getattr__(name: str) -> Any:
    """Names come at first use: pytest imports this package wherever the SDK is installed."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
