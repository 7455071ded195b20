"""Which platforms are installed, which devices they see, and which one to use.

Plugins are found through the entry points of the group `dovetail.platforms`, one by one: one that fails to import or
to probe, or hangs there, keeps its reason and harms no other. Nothing here knows any platform by name.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from . import registration
from .errors import (
    ConfigError,
    ContractMismatch,
    DeviceUnavailable,
    PlatformBroken,
    PlatformError,
    PlatformNotFound,
)
from .options import check_options
from .platform import Configurable, Device, DeviceInfo, Platform

GROUP = "dovetail.platforms"
PROBE_TIMEOUT_S = 10.0

log = logging.getLogger("dovetail.plugins")
A = TypeVar("A")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One entry point and what came of it.

    target    what the entry point names, "module:Class"
    file      of the package that has it, None if there is none
    platform  None if it cannot be used at all
    problem   why it cannot be used, or why none of its devices can; None if one can
    kind      of the error that using it by name raises
    """

    name: str
    distribution: str
    version: str
    target: str = ""
    file: str | None = None
    platform: Platform | None = None
    devices: list[DeviceInfo] = field(default_factory=list)
    problem: str | None = None
    kind: type[PlatformError] = PlatformBroken

    @property
    def usable(self) -> list[DeviceInfo]:
        """The devices that are taken without being named: an emulated one has to be."""
        return [d for d in self.devices if d.unavailable is None and not d.emulated]


@dataclass(frozen=True, slots=True)
class Selection:
    """The platform and devices to open, and why these."""

    platform: Platform
    devices: tuple[DeviceInfo, ...]
    reason: str

    def __str__(self) -> str:
        return f"{self.platform.name}:{','.join(device.id for device in self.devices)}"

    def after(self, failures: Sequence[DeviceUnavailable]) -> Selection:
        """The same, chosen because better ones could not be opened."""
        if not failures:
            return self
        return replace(self, reason=f"{self.reason}; passed over: {_joined(failures)}")


# ------------------------------------------------------------------------------------------------------ what is there


def discover(
    points: Iterable[EntryPoint] | None = None, *, timeout_s: float = PROBE_TIMEOUT_S
) -> list[Found]:
    """Every platform installed, usable or not, by falling rank and then by name.

    timeout_s  that each may take to be imported and probed
    """
    if points is None:
        points = entry_points(group=GROUP)
    found = [_load(point, timeout_s) for point in points]
    names = [entry.name for entry in found]
    found = [
        _refuse_twin(entry, found) if names.count(entry.name) > 1 else entry for entry in found
    ]
    return sorted(found, key=lambda entry: (-_rank(entry), entry.name))


def _load(point: EntryPoint, timeout_s: float) -> Found:
    dist = point.dist
    origin = Found(
        name=point.name,
        distribution=dist.name if dist is not None else "unknown",
        version=dist.version if dist is not None else "",
        target=point.value,
        file=_file(point),
    )
    try:
        platform, devices = within(timeout_s, "import and probe", lambda: _look(point))
    except (Exception, SystemExit) as error:  # a plugin may do anything; its reason is kept
        log.debug("platform=%s refused", point.name, exc_info=True)
        kind = ContractMismatch if isinstance(error, ContractMismatch) else PlatformBroken
        return replace(origin, problem=_reason(error), kind=kind)
    problem = None
    if not any(device.unavailable is None and not device.emulated for device in devices):
        reasons = [
            f"{device.id}: {device.unavailable or 'emulated, only when named'}"
            for device in sorted(devices, key=lambda device: device.emulated)
        ][: max(1, sum(not device.emulated for device in devices))]
        problem = "; ".join(reasons) or "it sees no device"
    return replace(origin, platform=platform, devices=devices, problem=problem)


def within(timeout_s: float, what: str, work: Callable[[], A]) -> A:
    """Do some of a plugin's work on a thread of its own; raises PlatformBroken if it takes longer than it may.

    The thread is left behind then: nothing can end it, and it ends with the process.
    """
    done: list[A] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:  # raised again by whoever waits
            raised.append(error)

    thread = threading.Thread(target=run, name=f"dovetail-{what}", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if raised:
        raise raised[0]
    if not done:
        raise PlatformBroken(
            f"its {what} had not ended after {timeout_s:g} s and was given up; "
            "--probe-timeout-s sets how long to wait"
        )
    return done[0]


def _look(point: EntryPoint) -> tuple[Platform, list[DeviceInfo]]:
    platform = _construct(point)
    devices: object = platform.probe()
    if not isinstance(devices, list) or not all(isinstance(d, DeviceInfo) for d in devices):
        raise PlatformBroken(f"its probe returned {devices!r:.80}, not a list of DeviceInfo")
    ids = [device.id for device in devices]
    if len({*ids}) < len(ids) or any(not name or "," in name for name in ids):
        raise PlatformBroken(f"its devices are called {ids}: each needs a name, without a comma")
    return platform, devices


def _construct(point: EntryPoint) -> Platform:
    made = point.load()
    if not (isinstance(made, type) and issubclass(made, Platform)):
        raise PlatformBroken(f"{point.value} is not a subclass of dovetail.platform.Platform")
    accepted = registration.accepted_contracts()
    if made.contract not in accepted:
        raise ContractMismatch(
            f"it speaks contract {made.contract} and this core speaks {' or '.join(map(str, accepted))}; "
            "install versions that belong together"
        )
    registration.check_class(Platform, made, point.name)
    platform = registration.check(made(), Platform, point.name)  # type: ignore[type-abstract]
    if platform.name != point.name:
        raise PlatformBroken(
            f"its entry point is {point.name!r} and it calls itself {platform.name!r}"
        )
    return platform


def _refuse_twin(entry: Found, found: Sequence[Found]) -> Found:
    twins = ", ".join(
        f"{other.distribution} {other.version}" for other in found if other.name == entry.name
    )
    problem = (
        f"several distributions call their platform {entry.name!r}: {twins}; uninstall all but one"
    )
    return replace(entry, platform=None, devices=[], problem=problem, kind=PlatformBroken)


def _file(point: EntryPoint) -> str | None:
    """Where the entry point's package is, found without importing it."""
    try:
        spec = importlib.util.find_spec(point.module.partition(".")[0])
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    return spec.origin or next(iter(spec.submodule_search_locations or ()), None)


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, PlatformError) else f"{type(error).__name__}: {error}"


# --------------------------------------------------------------------------------------------------- which one to use


def choices(
    spec: str | None,
    found: Sequence[Found] | None = None,
    *,
    timeout_s: float = PROBE_TIMEOUT_S,
    members: int | None = None,
) -> list[Selection]:
    """The platforms and devices to try, best first: one if `spec` names it, else all that can be used.

    spec     "name", "name:device" or "name:device,device"; only plugins of that name are loaded
    members  devices to take together; None: as many as are named, or one

    Raises PlatformNotFound, PlatformBroken, ContractMismatch or ConfigError, with what is there instead.
    """
    if spec is None:
        found = discover(timeout_s=timeout_s) if found is None else found
        return _ranked(found, members or 1)
    name, _, ids = spec.partition(":")
    if found is None:
        known = sorted({point.name for point in entry_points(group=GROUP)})
        entries = discover(entry_points(group=GROUP, name=name), timeout_s=timeout_s)
    else:
        known = [entry.name for entry in found]
        entries = [entry for entry in found if entry.name == name]
    if not entries:
        raise PlatformNotFound(
            f"no platform named {name!r} is installed (installed: {', '.join(known) or 'none'}); "
            f"install it with pip install dovetail-{name}, or choose another with --platform"
        )
    return [_named(entries[0], ids, members)]


def select(
    spec: str | None, found: Sequence[Found] | None = None, *, timeout_s: float = PROBE_TIMEOUT_S
) -> Selection:
    """The first of `choices`: without a spec, the first usable device of the highest declared rank."""
    return choices(spec, found, timeout_s=timeout_s)[0]


def find_again(spec: str, *, timeout_s: float = PROBE_TIMEOUT_S) -> Selection:
    """What another process chose, as this one sees it. Raises DeviceUnavailable where it is gone."""
    try:
        return select(spec, timeout_s=timeout_s)
    except (PlatformError, ConfigError) as error:
        raise DeviceUnavailable(str(error)) from error


def open_first(
    offers: Sequence[Selection], options: Mapping[str, str] | None = None
) -> tuple[Selection, Device]:
    """Open the first that can be opened. Raises DeviceUnavailable with every cause, ConfigError as `open_device` does."""
    failures: list[DeviceUnavailable] = []
    for offer in offers:
        try:
            return offer.after(failures), open_device(offer, options)
        except DeviceUnavailable as error:
            log.warning("platform=%s unavailable reason=%r", offer, str(error))
            failures.append(error)
    raise none_opened(failures)


def none_opened(failures: Sequence[DeviceUnavailable]) -> DeviceUnavailable:
    """What to raise when nothing could be opened."""
    return DeviceUnavailable(_joined(failures))


def open_device(selection: Selection, options: Mapping[str, str] | None = None) -> Device:
    """Open the devices of a selection.

    options  settings of the platform's own, by name

    Raises ConfigError for an option that the platform has not or a value it does not take; else DeviceUnavailable,
    the cause in its text.
    """
    options = check_options(selection.platform, options or {})
    try:
        device = _opened(selection, options)
    except (Exception, SystemExit) as error:  # a plugin may do anything
        raise DeviceUnavailable(f"{selection} cannot be opened: {_reason(error)}") from error
    try:
        return registration.check(device, Device, selection.platform.name)  # type: ignore[type-abstract]
    except PlatformBroken as error:
        with contextlib.suppress(Exception):  # what breaks the contract may have no close
            device.close()
        raise DeviceUnavailable(f"{selection} cannot be used: {error}") from error


def _opened(selection: Selection, options: Mapping[str, str]) -> Device:
    platform = selection.platform
    if options and isinstance(platform, Configurable):
        return platform.open_with(selection.devices, options)
    return platform.open(selection.devices)


def _joined(failures: Sequence[DeviceUnavailable]) -> str:
    return "; ".join(map(str, failures))


def _named(entry: Found, ids: str, members: int | None) -> Selection:
    if entry.platform is None:
        raise entry.kind(f"platform {entry.name} cannot be used: {entry.problem}")
    if not ids:
        if not entry.usable:
            raise PlatformBroken(f"platform {entry.name} has no usable device: {entry.problem}")
        if len(entry.usable) < (members or 1):
            raise ConfigError(_too_few(members or 1, f"platform {entry.name}", len(entry.usable)))
        return Selection(entry.platform, tuple(entry.usable[: members or 1]), "named")
    by_id = {device.id: device for device in entry.devices}
    chosen: list[DeviceInfo] = []
    names = ids.split(",")
    if members is not None and members != len(names) or len({*names}) < len(names):
        raise ConfigError(
            f"--platform names the devices {ids}; --tensor-parallel-size is {members}: name as many, each once"
        )
    for device_id in names:
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


def _too_few(members: int, where: str, found: int) -> str:
    return (
        f"--tensor-parallel-size is {members} and {where} has {found} usable device{'s'[: found != 1]}; "
        "lower it, or see `dovetail platforms`"
    )


def _ranked(found: Sequence[Found], members: int) -> list[Selection]:
    candidates = [
        e for e in found if e.platform is not None and e.platform.rank is not None and e.usable
    ]
    if candidates and members > 1:
        most = max(len(entry.usable) for entry in candidates)
        candidates = [entry for entry in candidates if len(entry.usable) >= members]
        if not candidates:
            raise ConfigError(_too_few(members, "no platform here has so many: the largest", most))
    if not candidates:
        story = "; ".join(f"{entry.name}: {entry.problem or 'only when named'}" for entry in found)
        raise PlatformNotFound(
            f"no platform can be used here ({story or 'none is installed'}); "
            'install one, for example with pip install "dovetail[cpu]"'
        )
    return [
        Selection(entry.platform, devices, _why(entry, candidates[place + 1 :]))
        for place, entry in enumerate(candidates)
        if entry.platform is not None
        for devices in _meshes(entry.usable, members)
    ]


def _meshes(usable: Sequence[DeviceInfo], members: int) -> list[tuple[DeviceInfo, ...]]:
    """What to try of a platform: each device by itself, or so many together."""
    return [(device,) for device in usable] if members == 1 else [tuple(usable[:members])]


def _why(entry: Found, below: Sequence[Found]) -> str:
    others = ", ".join(other.name for other in below)
    return f"rank {_rank(entry):g}, the highest of those usable" + (
        f" (also: {others})" if others else ""
    )


def _rank(entry: Found) -> float:
    rank = entry.platform.rank if entry.platform is not None else None
    return float("-inf") if rank is None else rank
