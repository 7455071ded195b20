"""From the devices that were named to an open one: a chip, a mesh of them, or a mesh over several hosts."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import jax
from dovetail.errors import PlatformError
from dovetail.platform import Device, DeviceInfo

from .chips import EMULATED, chip_of, chips
from .compiled import cache_folder, keep_on_disk
from .device import TpuDevice
from .hosts import PORT, Hosts, Place, check_whole, hosts_here, place_of
from .leader import Followers, LedDevice
from .probe import EMULATED_DEVICES
from .target import Target
from .trace import Settings

log = logging.getLogger("dovetail.tpu")


def open_device(devices: Sequence[DeviceInfo], options: Mapping[str, str]) -> Device:
    """Take devices; those of other hosts once these have come. Raises PlatformError where jax does not see them.

    options  as TpuPlatform declares them
    """
    emulated = [info.emulated for info in devices]
    if any(emulated) != all(emulated):
        raise PlatformError("chips and emulated devices make no mesh; name the ones or the others")
    names, hosts = [info.id for info in devices], hosts_here()
    places = [place_of(name) for name in names]
    check_whole(places, hosts)
    if all(place.host == 0 for place in places):
        return open_mesh(names, options, emulated[0], Hosts())
    followers = Followers.gathered(hosts, int(options.get("hosts_port", PORT)) + 1)
    try:
        own = followers.together(
            lambda: open_mesh(names, options, emulated[0], hosts),
            "open",
            names,
            dict(options),
            emulated[0],
        )
    except BaseException:
        followers.close()
        raise
    return LedDevice(own, followers)


def open_mesh(
    names: Sequence[str], options: Mapping[str, str], emulated: bool, hosts: Hosts
) -> Device:
    """This host's part in a mesh of devices: all of it where there is one host.

    names  of devices as the leader calls them, in the order of the mesh
    """
    if options.get("compile_cache", "on") == "on" and not keep_on_disk(cache_folder()):
        log.warning(
            "compile_cache=%s unused reason='others may use it, or it cannot be made'",
            cache_folder(),
        )
    if emulated:
        _cut_host()
    if len(hosts.names) > 1:
        jax.distributed.initialize(
            f"{hosts.names[0]}:{options.get('hosts_port', PORT)}", len(hosts.names), hosts.own
        )
    found = _by_place(emulated)
    places = [place_of(name) for name in names]
    for name, place in zip(names, places, strict=True):
        if place not in found:
            raise PlatformError(f"jax sees {len(found)} devices; {name} is not among them")
    devices = tuple(found[place] for place in places)
    chip = chips()[EMULATED] if emulated else chip_of(devices[0].device_kind)
    kernels = options.get("kernels", "auto")
    settings = Settings(
        chip,
        pallas=kernels == "pallas" or (kernels == "auto" and not emulated),
        interpret=emulated,
        members=len(devices),
    )
    return TpuDevice(Target(devices, settings, emulated))


def _cut_host() -> None:
    """Into virtual devices; where jax was started before, there are as many as there are."""
    try:
        jax.config.update("jax_num_cpu_devices", EMULATED_DEVICES)
    except RuntimeError:
        log.debug("jax was started before; the host has %d devices", len(jax.devices("cpu")))


def _by_place(emulated: bool) -> dict[Place, jax.Device]:
    """Every device that jax sees, by its host and its number there."""
    try:
        found = jax.devices("cpu" if emulated else "tpu")
    except RuntimeError as error:
        raise PlatformError(f"jax cannot use the TPU: {error}") from error
    hosts: dict[int, list[jax.Device]] = {}
    for device in found:
        hosts.setdefault(device.process_index, []).append(device)
    return {
        Place(host, index): device
        for host, devices in hosts.items()
        for index, device in enumerate(devices)
    }
