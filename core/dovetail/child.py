"""A process of this program's own that answers questions and may be ended: what could hang or burst is done there.

One JSON object per line each way. The other side is a module whose `main` reads stdin and prints answers.
"""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import sys
import time
import weakref
from typing import Any

READ_BYTES = 1 << 16


class Child:
    """`python -m MODULE`, running. It ends with its owner. For one thread at a time.

    broken  it did not answer the last question; stop it
    """

    def __init__(self, module: str) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        self.stop = weakref.finalize(self, _end, self._popen)
        self._rest = b""
        self.broken = False

    def ask(self, question: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Its answer; raises TimeoutError, or EOFError if it has ended, and is broken then."""
        assert self._popen.stdin is not None
        self.broken = True
        try:
            self._popen.stdin.write(json.dumps(question).encode() + b"\n")
            self._popen.stdin.flush()
        except BrokenPipeError:
            raise EOFError from None
        answer: dict[str, Any] = json.loads(self._line(time.monotonic() + timeout_s))
        self.broken = False
        return answer

    def _line(self, deadline: float) -> bytes:
        assert self._popen.stdout is not None
        parts = [self._rest]
        while b"\n" not in parts[-1]:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._popen.stdout], [], [], left)[0]:
                raise TimeoutError
            data = self._popen.stdout.read1(READ_BYTES)  # type: ignore[attr-defined]
            if not data:
                raise EOFError
            parts.append(data)
        line, _, self._rest = b"".join(parts).partition(b"\n")
        return line


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):  # what was not written is not wanted any more
                stream.close()


def answer(value: dict[str, Any]) -> None:
    """For the other side: one answer."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def limit_memory(more_bytes: int) -> None:
    """For the other side: what it has now and so much more, where the system can say so."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        with open("/proc/self/statm") as statm:
            now = int(statm.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + more_bytes, now + more_bytes))
