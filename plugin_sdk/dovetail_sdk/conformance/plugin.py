"""The pytest plugin of the SDK, loaded wherever it is installed: options, and the scorecard at the end.

It imports the checks only once a test of them was collected.
"""

from __future__ import annotations

import re
import sys

import pytest

FRONT = "dovetail_sdk.conformance.front"


def pytest_addoption(parser: pytest.Parser) -> None:
    """--platform, --ops and --emulated."""
    group = parser.getgroup("dovetail", "conformance of Dovetail platforms")
    group.addoption("--platform", metavar="NAME", help="platform to test: NAME or NAME:device")
    group.addoption("--ops", metavar="RE", help="only checks about ops in which this is found")
    group.addoption(
        "--emulated", action="store_true", help="the device is emulated: say so in every output"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what --ops leaves out."""
    pattern = config.getoption("--ops")
    if not pattern or FRONT not in sys.modules:
        return
    from .front import is_wanted

    ops = re.compile(pattern)
    kept = [item for item in items if is_wanted(item, ops)]
    config.hook.pytest_deselected(items=[item for item in items if not is_wanted(item, ops)])
    items[:] = kept


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the scorecards of the platforms that were tested."""
    if FRONT not in sys.modules:
        return
    from .front import finish

    for card in finish():
        terminalreporter.section(f"conformance{' (emulated)' if card.emulated else ''}")
        terminalreporter.write_line(card.text())
