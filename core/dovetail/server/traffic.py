"""What the server says of itself in /metrics: answers by status, and what its processes hold."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"})
REFUSALS = (401, 403, 408, 413, 429, 431, 503)
"""Statuses that say that a request was not let in, whatever it asked."""


class Traffic:
    """Answers so far. Labels are few whatever clients send: declared routes, known methods, statuses."""

    def __init__(self) -> None:
        self._answers: Counter[tuple[str, str, int]] = Counter()

    def count(self, method: str, route: str, status: int) -> None:
        """One more answer."""
        self._answers[method if method in METHODS else "other", route, status] += 1

    def families(self, prefix: str, model: str) -> Iterable[Metric]:
        """For exposition."""
        answers = CounterMetricFamily(
            f"{prefix}http_requests",
            "HTTP requests answered",
            labels=["model_name", "method", "route", "status"],
        )
        refused = dict.fromkeys(REFUSALS, 0)
        for (method, route, status), count in self._answers.items():
            answers.add_metric([model, method, route, str(status)], count)
            if status in refused:
                refused[status] += count
        yield answers
        family = CounterMetricFamily(
            f"{prefix}requests_refused",
            "Requests that were not let in",
            labels=["model_name", "status"],
        )
        for status, count in refused.items():
            family.add_metric([model, str(status)], count)
        yield family


def processes(prefix: str, engine_pid: int) -> Iterable[Metric]:
    """What the server process holds, and the engine process if there is one, where the system has /proc."""
    pids = {"server": os.getpid()} | ({"engine": engine_pid} if engine_pid else {})
    memory = _gauge(prefix, "process_resident_memory_bytes", "Memory that a process holds")
    files = _gauge(prefix, "process_open_fds", "Descriptors that a process has open")
    limits = _gauge(prefix, "process_max_fds", "Descriptors that a process may have open")
    started = _gauge(prefix, "process_start_time_seconds", "When a process began, since 1970")
    spent = CounterMetricFamily(
        f"{prefix}process_cpu_seconds", "Processor time of a process", labels=["process"]
    )
    for name, pid in pids.items():
        try:
            memory.add_metric([name], _resident(pid))
            files.add_metric([name], len(os.listdir(f"/proc/{pid}/fd")))
            limits.add_metric([name], _max_files(pid))
            spent.add_metric([name], _cpu_seconds(pid))
            started.add_metric([name], _started(pid))
        except OSError:  # it has just ended, or the system has no /proc
            continue
    yield from (memory, files, limits, spent, started)


def _gauge(prefix: str, name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(prefix + name, text, labels=["process"])


def _resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _max_files(pid: int) -> float:
    found = re.search(r"^Max open files +(\d+)", Path(f"/proc/{pid}/limits").read_text(), re.M)
    return float(found[1]) if found is not None else float("inf")


def _cpu_seconds(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _started(pid: int) -> float:
    booted = re.search(r"^btime (\d+)", Path("/proc/stat").read_text(), re.M)
    since_boot_s = int(_stat(pid)[19]) / os.sysconf("SC_CLK_TCK")
    return since_boot_s + (float(booted[1]) if booted is not None else 0.0)


def _stat(pid: int) -> list[str]:
    """Of proc(5), what follows the name, from the state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
