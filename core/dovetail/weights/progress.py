"""Progress bars on a terminal; nothing anywhere else."""

from __future__ import annotations

import sys
import threading
from typing import Any


def on_terminal() -> bool:
    """Whether progress would be seen by a person."""
    return sys.stderr is not None and sys.stderr.isatty()


class Progress:
    """A bar over bytes that closes itself when it is full. `advance` may be called from any thread.

    show  None shows it on a terminal only
    """

    def __init__(self, label: str, total: int, *, show: bool | None = None) -> None:
        self._left = total
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
            if self._bar is not None and count:
                self._bar.update(count)
                if not self._left:
                    self._close()

    def close(self) -> None:
        """Take the bar off; twice does no harm."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
