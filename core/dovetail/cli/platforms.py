"""dovetail platforms"""

from __future__ import annotations

import argparse
import json
from typing import Any

from dovetail.plugins import Found, discover

from .parser import Parser
from .settings import Settings


def add_arguments(parser: Parser) -> None:
    """Only --json."""
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(given: argparse.Namespace, settings: Settings) -> int:
    """List them; status 0 even where none can be used."""
    found = discover()
    if given.json:
        print(json.dumps([_fields(entry) for entry in found], indent=2))
    elif not found:
        print('no platform is installed; install one, for example: pip install "dovetail[cpu]"')
    else:
        for entry in found:
            _print(entry)
    return 0


def _fields(entry: Found) -> dict[str, Any]:
    return {
        "name": entry.name,
        "distribution": entry.distribution,
        "version": entry.version,
        "rank": entry.platform.rank if entry.platform else None,
        "usable": entry.problem is None,
        "problem": entry.problem,
        "devices": [
            {
                "id": device.id,
                "description": device.description,
                "memory_bytes": device.memory_bytes,
                "unavailable": device.unavailable,
                "emulated": device.emulated,
            }
            for device in entry.devices
        ],
    }


def _print(entry: Found) -> None:
    rank = entry.platform.rank if entry.platform else None
    notes = [f"{entry.distribution} {entry.version}"]
    notes.append(f"rank {rank}" if rank is not None else "only when named")
    print(f"{entry.name}  ({', '.join(notes)})")
    for device in entry.devices:
        memory = f", {device.memory_bytes / (1 << 30):.1f} GiB" if device.memory_bytes else ""
        emulated = ", emulated" if device.emulated else ""
        state = f"  unavailable: {device.unavailable}" if device.unavailable else ""
        print(f"  {entry.name}:{device.id}  {device.description}{memory}{emulated}{state}")
    if entry.problem is not None:
        print(f"  cannot be used: {entry.problem}")
