"""dovetail platforms"""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import Any

from dovetail.errors import DovetailError
from dovetail.options import declared
from dovetail.platform import Capabilities, DeviceInfo
from dovetail.plugins import Found, Selection, discover, open_device, within

from .parser import Parser, add_probing
from .settings import Settings

GROUPS = ("dtype", "weights", "cache", "fused", "rewrite", "column")


def add_arguments(parser: Parser) -> None:
    """--json, --verbose and how long to wait."""
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument(
        "--verbose", action="store_true", help="open each device and show what it can do"
    )
    add_probing(parser)


def run(given: argparse.Namespace, settings: Settings) -> int:
    """List them; status 0 even where none can be used."""
    timeout_s = settings.engine.probe_timeout_s
    found = discover(timeout_s=timeout_s)
    if given.json:
        entries = [fields(entry) for entry in found]
        if given.verbose:
            for entry, shown in zip(found, entries, strict=True):
                for device, into in zip(entry.devices, shown["devices"], strict=True):
                    into |= _abilities(entry, device, timeout_s)
        print(json.dumps(entries, indent=2))
    elif not found:
        print('no platform is installed; install one, for example: pip install "dovetail[cpu]"')
    else:
        for entry in found:
            print_found(entry)
            if given.verbose:
                _print_abilities(entry, timeout_s)
    return 0


def fields(entry: Found) -> dict[str, Any]:
    """An entry point and what came of it, for JSON."""
    return {
        "name": entry.name,
        "distribution": entry.distribution,
        "version": entry.version,
        "target": entry.target,
        "file": entry.file,
        "contract": entry.platform.contract if entry.platform else None,
        "rank": entry.platform.rank if entry.platform else None,
        "options": [dataclasses.asdict(o) for o in declared(entry.platform)]
        if entry.platform
        else [],
        "usable": entry.problem is None,
        "problem": entry.problem,
        "devices": [dataclasses.asdict(device) for device in entry.devices],
    }


def print_found(entry: Found) -> None:
    """An entry point, its devices, and why it cannot be used."""
    rank = entry.platform.rank if entry.platform else None
    notes = [f"{entry.distribution} {entry.version}"]
    notes.append(f"rank {rank}" if rank is not None else "only when named")
    print(f"{entry.name}  ({', '.join(notes)})")
    for device in entry.devices:
        memory = f", {device.memory_bytes / (1 << 30):.1f} GiB" if device.memory_bytes else ""
        emulated = ", emulated" if device.emulated else ""
        state = f"  unavailable: {device.unavailable}" if device.unavailable else ""
        print(f"  {entry.name}:{device.id}  {device.description}{memory}{emulated}{state}")
    for option in declared(entry.platform) if entry.platform else ():
        takes = "|".join(option.values) or f"{option.low} to {option.high}"
        print(f"  --option {option.name}={takes}  {option.help} ({option.default})")
    if entry.problem is not None:
        print(f"  cannot be used: {entry.problem}")


def _capabilities(entry: Found, device: DeviceInfo, timeout_s: float) -> Capabilities:
    """What a device can do: it is opened for that, and closed. Raises PlatformError."""
    assert entry.platform is not None
    selection = Selection(entry.platform, (device,), "named")

    def look() -> Capabilities:
        opened = open_device(selection)
        try:
            return opened.capabilities
        finally:
            opened.close()

    return within(6 * timeout_s, "open", look)


def _abilities(entry: Found, device: DeviceInfo, timeout_s: float) -> dict[str, Any]:
    """For JSON: the features with their states, or why the device cannot be opened."""
    if device.unavailable is not None:
        return {}
    try:
        can = _capabilities(entry, device, timeout_s)
    except DovetailError as error:
        return {"unavailable": str(error)}
    return {
        "steps_in_flight": can.steps_in_flight,
        "dynamic_shapes": can.dynamic_shapes,
        "top_logprobs": can.top_logprobs,
        "max_width": can.max_width,
        "cache_forms": [dataclasses.asdict(form) for form in can.cache_forms],
        "features": [dataclasses.asdict(feature) for feature in can.known()],
    }


def _print_abilities(entry: Found, timeout_s: float) -> None:
    before: list[str] = []
    for device in entry.usable:
        try:
            can = _capabilities(entry, device, timeout_s)
        except DovetailError as error:
            print(f"  {entry.name}:{device.id} cannot be opened: {error}")
            continue
        lines = _described(can)
        shown = lines if lines != before else ["otherwise the same"]
        ahead = f"{can.steps_in_flight} step{'s' * (can.steps_in_flight > 1)} in flight"
        print(f"  {entry.name}:{device.id}  {ahead}", *shown, sep="\n    ")
        before = lines


def _described(can: Capabilities) -> list[str]:
    """Lists first, then everything that has something to be said about it."""
    known = can.known()
    lines = [f"{'op':12} {len(can.ops)} of them"]
    for group in GROUPS:
        names = [
            feature.name.partition(":")[2]
            for feature in known
            if feature.name.startswith(f"{group}:") and feature.state != "unsupported"
        ]
        if names:
            lines.append(f"{group:12} {', '.join(names)}")
    lines += [f"{f.state:12} {f.name}: {f.reason}" for f in can.features]
    return lines
