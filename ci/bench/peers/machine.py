"""What else the machine is doing, and what a server takes: read from /proc."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
IDLE_CORES = 0.12


def busy_seconds() -> float:
    """Processor time of everything since the machine started."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS


def wait_until_idle(patience_s: float) -> bool:
    """Wait until other programs take nearly nothing; False if they never did."""
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        before = busy_seconds()
        time.sleep(0.6)
        if (busy_seconds() - before) / 0.6 < IDLE_CORES:
            return True
    return False


def tree(root: int) -> Iterator[int]:
    """A process and all below it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))):
            children.setdefault(int(stat[1]), []).append(int(entry.name))
    found = [root]
    for process in found:
        yield process
        found += children.get(process, [])


def seconds_of(root: int) -> float:
    """Processor time of a process and all below it."""
    stats = [_stat(process) for process in tree(root)]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats if stat) / TICKS


def memory_of(root: int) -> int:
    """Bytes of a process and all below it, shared pages divided among those that share them (PSS)."""
    return sum(_proportional(process) for process in tree(root))


def _proportional(process: int) -> int:
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:  # it has ended
        return 0
    return sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))


def _stat(process: int) -> list[str] | None:
    """The fields after the name of the program."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()


def outrank(process: int) -> None:
    """Put a session before everybody else's, where that is allowed: nice counts only within one."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{process}/autogroup").write_text("-15")
