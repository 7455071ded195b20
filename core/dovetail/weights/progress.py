"""What a start is doing, where it takes longer than a second: shown on a terminal, told by the log elsewhere."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

PATIENCE_S = 1.0
TELL_EVERY_S = 5.0

log = logging.getLogger("dovetail.weights")


def on_terminal() -> bool:
    """Whether progress would be seen by a person."""
    return sys.stderr is not None and sys.stderr.isatty()


class Progress:
    """A bar over bytes that closes itself when it is full. `advance` may be called from any thread.

    Where no bar is shown, the log has a line every five seconds with rate and time left, and one at the end.

    show  None shows it on a terminal only
    """

    def __init__(self, label: str, total: int, *, show: bool | None = None) -> None:
        self._label, self._total, self._left = label, total, total
        self._started = self._told = time.monotonic()
        self._lock = threading.Lock()
        self._bar: Any = None
        if (on_terminal() if show is None else show) and total > 0:
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc=label, unit="B", unit_scale=True, file=sys.stderr)

    def advance(self, count: int) -> None:
        """Count bytes as done; more than the total are ignored, as of a weight read twice."""
        with self._lock:
            count = min(count, self._left)
            self._left -= count
            if count:
                self._tell()
            if self._bar is not None and count:
                self._bar.update(count)
                if not self._left:
                    self._close()

    def _tell(self) -> None:
        now = time.monotonic()
        taken, done = now - self._started, self._total - self._left
        wait = TELL_EVERY_S if self._left else PATIENCE_S
        if self._bar is not None or taken < PATIENCE_S or (self._left and now - self._told < wait):
            return
        self._told = now
        rate = done / taken
        log.info(
            "%s bytes=%d of=%d mb_per_s=%.0f seconds=%.1f left_s=%.1f",
            self._label.replace(" ", "_"),
            done,
            self._total,
            rate / 1e6,
            taken,
            self._left / rate,
        )

    def close(self) -> None:
        """Take the bar off; twice does no harm."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


@contextlib.contextmanager
def phase(label: str) -> Iterator[None]:
    """Something without bytes to count. After a second a terminal shows the label and the seconds; the log has them at the end."""
    started = time.monotonic()
    ended = threading.Event()

    def show() -> None:
        wait = PATIENCE_S
        while not ended.wait(wait):
            sys.stderr.write(f"\r{label}: {time.monotonic() - started:.0f} s ")
            sys.stderr.flush()
            wait = 0.5

    thread = threading.Thread(target=show, name="dovetail-phase", daemon=True)
    seen = on_terminal()
    if seen:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        taken = time.monotonic() - started
        if seen:
            thread.join()
            if taken > PATIENCE_S:
                sys.stderr.write("\r\033[K")
        log.info("phase=%s seconds=%.2f", label.replace(" ", "_"), taken)
