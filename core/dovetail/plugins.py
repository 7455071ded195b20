"""Which platforms are installed, which devices they see, and which one to use.

Plugins are found through the entry points of the group `dovetail.platforms`, one by one: one that fails to import or
to probe keeps its reason and harms no other. Nothing here knows any platform by name.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points

from .errors import ConfigError, ContractMismatch, PlatformBroken, PlatformError, PlatformNotFound
from .platform import CONTRACT, DeviceInfo, Platform

GROUP = "dovetail.platforms"
ACCEPTED_CONTRACTS = (CONTRACT,)

log = logging.getLogger("dovetail.plugins")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One entry point and what came of it.

    platform  None if it cannot be used at all
    problem   why it cannot be used, or why none of its devices can; None if one can
    """

    name: str
    distribution: str
    version: str
    platform: Platform | None = None
    devices: list[DeviceInfo] = field(default_factory=list)
    problem: str | None = None

    @property
    def usable(self) -> list[DeviceInfo]:
        """The devices that can be opened."""
        return [device for device in self.devices if device.unavailable is None]


@dataclass(frozen=True, slots=True)
class Selection:
    """The platform and devices to open, and why these."""

    platform: Platform
    devices: tuple[DeviceInfo, ...]
    reason: str

    def __str__(self) -> str:
        return f"{self.platform.name}:{','.join(device.id for device in self.devices)}"


def discover(points: Iterable[EntryPoint] | None = None) -> list[Found]:
    """Every platform installed, usable or not, by falling rank and then by name."""
    if points is None:
        points = entry_points(group=GROUP)
    found = [_load(point) for point in points]
    names = [entry.name for entry in found]
    found = [
        _refuse_twin(entry, found) if names.count(entry.name) > 1 else entry for entry in found
    ]
    return sorted(found, key=lambda entry: (-_rank(entry), entry.name))


def select(spec: str | None, found: Sequence[Found] | None = None) -> Selection:
    """The platform and devices that `spec` names: "name", "name:device", "name:device,device".

    None takes the first usable device of the highest declared rank. Raises PlatformNotFound, PlatformBroken,
    ContractMismatch or ConfigError, with what is there instead.
    """
    found = discover() if found is None else found
    if spec is None:
        return _best(found)
    name, _, ids = spec.partition(":")
    entries = [entry for entry in found if entry.name == name]
    if not entries:
        known = ", ".join(entry.name for entry in found) or "none"
        raise PlatformNotFound(
            f"no platform named {name!r} is installed (installed: {known}); "
            f"install it with pip install dovetail-{name}, or choose another with --platform"
        )
    return _named(entries[0], ids)


def _named(entry: Found, ids: str) -> Selection:
    if entry.platform is None:
        kind = ContractMismatch if "contract" in (entry.problem or "") else PlatformBroken
        raise kind(f"platform {entry.name} cannot be used: {entry.problem}")
    if not ids:
        if not entry.usable:
            raise PlatformBroken(f"platform {entry.name} has no usable device: {entry.problem}")
        return Selection(entry.platform, (entry.usable[0],), "named")
    by_id = {device.id: device for device in entry.devices}
    chosen = []
    for device_id in ids.split(","):
        if device_id not in by_id:
            known = ", ".join(by_id) or "none"
            raise ConfigError(
                f"platform {entry.name} has no device {device_id!r} (devices: {known})"
            )
        device = by_id[device_id]
        if device.unavailable is not None:
            raise PlatformBroken(f"{entry.name}:{device_id} cannot be used: {device.unavailable}")
        chosen.append(device)
    return Selection(entry.platform, tuple(chosen), "named")


def _best(found: Sequence[Found]) -> Selection:
    candidates = [
        e for e in found if e.platform is not None and e.platform.rank is not None and e.usable
    ]
    if not candidates:
        story = "; ".join(f"{entry.name}: {entry.problem or 'only when named'}" for entry in found)
        raise PlatformNotFound(
            f"no platform can be used here ({story or 'none is installed'}); "
            'install one, for example with pip install "dovetail[cpu]"'
        )
    best = candidates[0]
    assert best.platform is not None
    others = ", ".join(entry.name for entry in candidates[1:])
    reason = f"rank {best.platform.rank}, the highest of those usable" + (
        f" (also: {others})" if others else ""
    )
    return Selection(best.platform, (best.usable[0],), reason)


def _rank(entry: Found) -> float:
    rank = entry.platform.rank if entry.platform is not None else None
    return float("-inf") if rank is None else rank


def _load(point: EntryPoint) -> Found:
    dist = point.dist
    name, version = (dist.name, dist.version) if dist is not None else ("unknown", "")
    origin = Found(name=point.name, distribution=name, version=version)
    try:
        platform = _construct(point)
        devices = platform.probe()
    except (Exception, SystemExit) as error:  # a plugin may do anything; its reason is kept
        log.debug("platform=%s refused", point.name, exc_info=True)
        reason = (
            str(error) if isinstance(error, PlatformError) else f"{type(error).__name__}: {error}"
        )
        return _with(origin, problem=reason)
    problem = None
    if not any(device.unavailable is None for device in devices):
        reasons = [f"{device.id}: {device.unavailable}" for device in devices]
        problem = "; ".join(reasons) or "it sees no device"
    return _with(origin, platform=platform, devices=devices, problem=problem)


def _construct(point: EntryPoint) -> Platform:
    made = point.load()
    if not (isinstance(made, type) and issubclass(made, Platform)):
        raise PlatformBroken(f"{point.value} is not a subclass of dovetail.platform.Platform")
    if made.contract not in ACCEPTED_CONTRACTS:
        accepted = " or ".join(str(number) for number in ACCEPTED_CONTRACTS)
        raise ContractMismatch(
            f"it speaks contract {made.contract} and this core speaks {accepted}; "
            "install versions that belong together"
        )
    platform = made()
    if platform.name != point.name:
        raise PlatformBroken(
            f"its entry point is {point.name!r} and it calls itself {platform.name!r}"
        )
    return platform


def _refuse_twin(entry: Found, found: Sequence[Found]) -> Found:
    twins = ", ".join(
        f"{other.distribution} {other.version}" for other in found if other.name == entry.name
    )
    return Found(
        name=entry.name,
        distribution=entry.distribution,
        version=entry.version,
        problem=f"several distributions call their platform {entry.name!r}: {twins}; uninstall all but one",
    )


def _with(
    origin: Found,
    *,
    platform: Platform | None = None,
    devices: list[DeviceInfo] | None = None,
    problem: str | None = None,
) -> Found:
    return Found(
        name=origin.name,
        distribution=origin.distribution,
        version=origin.version,
        platform=platform,
        devices=devices or [],
        problem=problem,
    )
