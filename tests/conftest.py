"""What every test of the core starts from."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Take Ctrl-C even where the tests were started in the background: a shell without job control has what it starts
    so ignore it, programs pass that on, and a test that interrupts one would wait for ever."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
