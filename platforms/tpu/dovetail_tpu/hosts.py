"""The hosts of a slice, as Cloud TPU's environment lists them, and the devices of a mesh over several of them.

On host 0, whose process leads, device 1 of host 2 is `h2.1`. Every host of a slice has the same devices.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dovetail.errors import PlatformError

PORT = 8476
"""Of jax's coordinator, which is the leader; calls are told on the next one."""


@dataclass(frozen=True, slots=True)
class Hosts:
    """names: of every host, the leader's first; own: this one's place."""

    names: tuple[str, ...] = ("localhost",)
    own: int = 0

    @property
    def others(self) -> range:
        """Places of the hosts that are led, as the leader sees them; none on any other host."""
        return range(1, len(self.names) if self.own == 0 else 1)


@dataclass(frozen=True, slots=True)
class Place:
    """A device: its host, and which one it is there."""

    host: int
    index: int


def hosts_here(environment: Mapping[str, str] | None = None) -> Hosts:
    """The slice that this host is in; itself alone where none is listed."""
    found = os.environ if environment is None else environment
    names = tuple(filter(None, found.get("TPU_WORKER_HOSTNAMES", "").split(",")))
    own = found.get("TPU_WORKER_ID", "0")
    if len(names) < 2 or not own.isdigit() or int(own) >= len(names):
        return Hosts()
    return Hosts(names, int(own))


def place_of(device_id: str) -> Place:
    """Of an id of the platform: 1, cpu3, h2.1, h1.cpu."""
    host, index = re.fullmatch(r"(?:h(\d+)\.)?(?:cpu)?(\d*)", device_id).groups()  # type: ignore[union-attr]
    return Place(int(host or 0), int(index or 0))


def check_whole(places: Sequence[Place], hosts: Hosts) -> None:
    """Raise PlatformError for a mesh over several hosts that leaves one out: a slice starts as a whole."""
    named = {place.host for place in places}
    left_out = sorted(set(range(len(hosts.names))) - named)
    if len(named) > 1 and left_out:
        which = ", ".join(f"{place} ({hosts.names[place]})" for place in left_out)
        raise PlatformError(
            f"a mesh over several hosts is over all of the slice; none of host {which} is named"
        )
