"""What the operating system says about this machine: processor, usable cores, memory.

Everything has a fallback, because /proc, /sys and control groups exist on Linux alone.
"""

from __future__ import annotations

import math
import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

_FEATURES = (
    ("avx2", "avx2"),
    ("avx512", "avx512f"),
    ("bf16", "avx512_bf16"),
    ("vnni", "avx512_vnni"),
    ("amx", "amx_tile"),
    ("neon", "asimd"),
    ("sve", "sve"),
    ("bf16", "bf16"),
    ("i8mm", "i8mm"),
)
_CGROUP = Path("/sys/fs/cgroup")
_ASSUMED_MEMORY_BYTES = 4 << 30
"""Used only where the system tells nothing; small, so that a cache sized by it is safe."""


def description() -> str:
    """For people: "AMD EPYC 9B45, 2 cores, avx512 bf16 vnni"."""
    info = _read(Path("/proc/cpuinfo"))
    count = usable_cores()
    words = [processor_name(info), f"{count} core" + ("" if count == 1 else "s")]
    if features := cpu_features(info):
        words.append(" ".join(features))
    return ", ".join(words)


def processor_name(cpuinfo: str) -> str:
    """The processor's name from the text of /proc/cpuinfo, or what the platform module knows."""
    match = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    if match:
        return " ".join(match.group(1).split())
    return platform.processor() or platform.machine() or "unknown processor"


def cpu_features(cpuinfo: str) -> list[str]:
    """Instruction sets that matter here, from the flags in the text of /proc/cpuinfo."""
    match = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    flags = set(match.group(1).split()) if match else set()
    return list(dict.fromkeys(word for word, flag in _FEATURES if flag in flags))


def usable_cores(cpus: Sequence[int] | None = None) -> int:
    """Physical cores this process may keep busy: of these logical ones, or of its affinity, within its group's quota."""
    cores = len({_siblings(cpu) for cpu in (_allowed_cpus() if cpus is None else cpus)})
    quota = _quota_cores()
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


def node_cpus() -> list[int]:
    """The allowed logical processors of the memory node that has most cores of them; all where there is one node."""
    nodes: dict[str, list[int]] = {}
    for cpu in _allowed_cpus():
        nodes.setdefault(_node(cpu), []).append(cpu)
    return max(nodes.values(), key=lambda cpus: len({_siblings(cpu) for cpu in cpus}))


def _node(cpu: int) -> str:
    """Name of the memory node that a logical processor is next to, empty where the system has none."""
    found = sorted(Path(f"/sys/devices/system/cpu/cpu{cpu}").glob("node[0-9]*"))
    return found[0].name if found else ""


def keep_to(cpus: Sequence[int]) -> None:
    """Keep this thread, and those it starts from now on, to some logical processors."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)


def allowed_cpus() -> list[int]:
    """Logical processors that this thread may run on."""
    return _allowed_cpus()


def _allowed_cpus() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _siblings(cpu: int) -> str:
    """A name for the physical core that a logical processor is on."""
    base = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
    return _read(base / "thread_siblings_list").strip() or str(cpu)


def _quota_cores() -> float | None:
    """Cores' worth of time the control group allows, None for no limit."""
    words = _read(_CGROUP / "cpu.max").split()
    if len(words) == 2 and words[0] != "max":
        return int(words[0]) / int(words[1])
    quota = _number(_CGROUP / "cpu/cpu.cfs_quota_us")
    period = _number(_CGROUP / "cpu/cpu.cfs_period_us")
    return quota / period if quota and period and quota > 0 else None


def total_memory_bytes() -> int:
    """Memory this process may use at most."""
    limits = [_meminfo().get("MemTotal") or _sysconf_bytes("SC_PHYS_PAGES")]
    limits.append(_group_limit())
    known = [limit for limit in limits if limit]
    return min(known) if known else _ASSUMED_MEMORY_BYTES


def free_memory_bytes() -> int:
    """Memory this process can still take, page cache that can be dropped included."""
    free = _meminfo().get("MemAvailable") or _sysconf_bytes("SC_AVPHYS_PAGES")
    bounds = [free or _ASSUMED_MEMORY_BYTES // 2]
    limit = _group_limit()
    if limit is not None:
        bounds.append(max(0, limit - _group_used()))
    return min(bounds)


def _meminfo() -> dict[str, int]:
    """Lines of /proc/meminfo, in bytes; empty where there is none."""
    pairs = re.findall(r"^(\w+):\s+(\d+) kB$", _read(Path("/proc/meminfo")), re.MULTILINE)
    return {name: int(kib) * 1024 for name, kib in pairs}


def _sysconf_bytes(name: str) -> int | None:
    try:
        return os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _group_limit() -> int | None:
    """Memory limit of the control group, None for none."""
    for path in (_CGROUP / "memory.max", _CGROUP / "memory/memory.limit_in_bytes"):
        limit = _number(path)
        if limit is not None and limit < 1 << 60:
            return limit
    return None


def _group_used() -> int:
    """Bytes the group holds, without the page cache that can be dropped."""
    for usage, stat in (
        (_CGROUP / "memory.current", _CGROUP / "memory.stat"),
        (_CGROUP / "memory/memory.usage_in_bytes", _CGROUP / "memory/memory.stat"),
    ):
        used = _number(usage)
        if used is not None:
            match = re.search(r"^(?:total_)?inactive_file (\d+)$", _read(stat), re.MULTILINE)
            return max(0, used - (int(match.group(1)) if match else 0))
    return 0


def _number(path: Path) -> int | None:
    text = _read(path).strip()
    return int(text) if re.fullmatch(r"-?\d+", text) else None


def _read(path: Path) -> str:
    """The file's text, empty if it cannot be read: every caller has a fallback."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
