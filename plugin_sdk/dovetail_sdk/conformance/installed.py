"""Platforms by the name that they are installed under."""

from __future__ import annotations

from importlib.metadata import entry_points

from dovetail.errors import ConfigError, PlatformNotFound
from dovetail.platform import Platform

from .context import Context

GROUP = "dovetail.platforms"


def open_installed(spec: str, *, emulated: bool = False, dry: bool = False) -> Context:
    """The context of NAME, NAME:device or NAME:device,device.

    Raises PlatformNotFound with what is installed instead; whatever the plugin raises at import goes through.
    """
    name, _, ids = spec.partition(":")
    points = [point for point in entry_points(group=GROUP) if point.name == name]
    if not points:
        known = sorted({point.name for point in entry_points(group=GROUP)})
        raise PlatformNotFound(
            f"no platform named {name!r} is installed (installed: {', '.join(known) or 'none'}); "
            "install its distribution, editable if it is your own"
        )
    if len({point.value for point in points}) > 1:
        raise ConfigError(
            f"several distributions call their platform {name!r}; uninstall all but one"
        )
    made = points[0].load()
    if not (isinstance(made, type) and issubclass(made, Platform)):
        raise ConfigError(f"{points[0].value} is not a subclass of dovetail.platform.Platform")
    chosen = ids.split(",") if ids else None
    return Context(made(), ids=chosen, spec=spec, emulated=emulated, dry=dry)
