"""Entry point: runs a command, and turns errors into one line and an exit status.

Status: 0 done, 1 it did not work, 2 the command line is wrong, 130 interrupted.
Imports next to nothing by itself, so that Ctrl-C is obeyed from the first moment on.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from dovetail.errors import DovetailError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _prepared(arguments)()
    except DovetailError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        import logging

        if logging.getLogger("dovetail").isEnabledFor(logging.DEBUG):
            raise
        return _fail(
            f"unexpected {type(error).__name__}: {error}; this is a mistake in dovetail "
            "(--log-level debug shows where)"
        )


def _prepared(arguments: list[str]) -> Callable[[], int]:
    """The command, imported and parsed. Ctrl-C meanwhile ends the process at once: nothing has begun,
    and an import can turn a KeyboardInterrupt into another error, or lose it."""
    before = signal.getsignal(signal.SIGINT)
    ours = before is signal.default_int_handler and _in_main_thread()
    if ours:
        signal.signal(signal.SIGINT, _leave)
    try:
        from .dispatch import prepare

        return prepare(arguments)
    finally:
        if ours:
            signal.signal(signal.SIGINT, before)


def _in_main_thread() -> bool:
    """Only there may signals be handled."""
    import threading

    return threading.current_thread() is threading.main_thread()


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)


def _fail(message: str) -> int:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
