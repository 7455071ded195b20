"""What the checks run on: the platform under test, opened once, and the reference beside it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property

from dovetail.graph import Graph
from dovetail.platform import CacheForm, Capabilities, Device, DeviceInfo, Platform

from dovetail_sdk.reference.platform import ReferenceDevice

from .check import Failed, Unsupported

PLAIN_FORMS = ("f32", "bf16", "f16")
"""Cache forms that hold numbers of a dtype, so that the reference has them too."""


@dataclass(frozen=True, slots=True)
class Config:
    """A way to run a model: what it computes in, how the cache is kept, S tokens per block."""

    dtype: str
    form: CacheForm
    block_size: int

    def __str__(self) -> str:
        return f"{self.dtype}, cache {self.form.name}, S={self.block_size}"


class Context:
    """A platform under test.

    platform  an instance; it need not be installed
    ids       devices that are asked for, None for the first usable one
    spec      what --platform takes, None for a platform that is not installed under its name
    emulated  its results come from an emulator; also where a device says so
    dry       only ask what is supported, and compute nothing
    held      what checks share, closed with the context
    """

    def __init__(
        self,
        platform: Platform,
        *,
        ids: Sequence[str] | None = None,
        spec: str | None = None,
        emulated: bool = False,
        dry: bool = False,
    ) -> None:
        self.platform = platform
        self.spec = spec
        self.dry = dry
        self.ids = ids
        self._emulated = emulated
        self.oracle: Device = ReferenceDevice()
        self.held = ExitStack()

    @cached_property
    def devices(self) -> tuple[DeviceInfo, ...]:
        """The devices that are opened; Failed if there is none."""
        seen = self.platform.probe()
        usable = [info for info in seen if info.unavailable is None]
        if self.ids is None:
            if not usable:
                raise Failed(
                    "no usable device: " + "; ".join(f"{i.id}: {i.unavailable}" for i in seen)
                )
            return (usable[0],)
        by_id = {info.id: info for info in usable}
        if missing := [name for name in self.ids if name not in by_id]:
            raise Failed(f"no usable device {', '.join(missing)}; there are {', '.join(by_id)}")
        return tuple(by_id[name] for name in self.ids)

    @cached_property
    def device(self) -> Device:
        """Opened at first use."""
        return self.platform.open(self.devices)

    @property
    def capabilities(self) -> Capabilities:
        """Of the device."""
        return self.device.capabilities

    @property
    def emulated(self) -> bool:
        """Whether results come from an emulator."""
        return self._emulated or any(info.emulated for info in self.devices)

    @property
    def description(self) -> str:
        """The devices, for people."""
        return "; ".join(f"{info.id}: {info.description}" for info in self.devices)

    @cached_property
    def main(self) -> Config:
        """The most exact configuration: f32 where there is one, with the cache form nearest to it."""
        dtypes = self.capabilities.compute_dtypes
        for dtype in ("f32", "f16", "bf16"):
            configs = [config for config in self.configs if config.dtype == dtype]
            if dtype in dtypes and configs:
                return min(configs, key=lambda c: _rank(c.form, dtype))
        raise Failed(f"no cache form works with any of the compute dtypes {dtypes}")

    @cached_property
    def configs(self) -> tuple[Config, ...]:
        """Every compute dtype with every cache form that goes with it, in small blocks."""
        able = self.capabilities
        return tuple(
            Config(dtype, form, small_block(form))
            for dtype in able.compute_dtypes
            for form in able.cache_forms
            if not form.compute_dtypes or dtype in form.compute_dtypes
        )

    def config(self, dtype: str, form: str) -> Config:
        """That dtype with that cache form; Unsupported if the device has not both."""
        require_dtype(self.capabilities, dtype)
        for config in self.configs:
            if (config.dtype, config.form.name) == (dtype, form):
                return config
        known = [form.name for form in self.capabilities.cache_forms]
        raise Unsupported(f"no {form} cache in {dtype} (cache forms: {', '.join(known)})")

    def supports(self, graph: Graph) -> None:
        """Unsupported, with the device's reason, unless it runs every node."""
        answers = self.device.supports(graph)
        if [answer.node for answer in answers] != [node.name for node in graph.nodes]:
            raise Failed(
                f"supports answered about {[a.node for a in answers]}, not about the nodes in order"
            )
        for answer in answers:
            if answer.kernel is None:
                if not answer.reason:
                    raise Failed(f"supports refuses {answer.node} without a reason")
                raise Unsupported(answer.reason)

    def close(self) -> None:
        """Give everything back that was taken."""
        self.held.close()
        if "device" in self.__dict__:
            self.device.close()
            del self.__dict__["device"]


def require_dtype(capabilities: Capabilities, dtype: str) -> None:
    """Unsupported unless the device computes in the dtype."""
    if dtype not in capabilities.compute_dtypes:
        raise Unsupported(f"does not compute in {dtype}")


def small_block(form: CacheForm, at_least: int = 4) -> int:
    """A legal number of tokens per block, small so that few tokens cross many blocks."""
    size = form.block_multiple * -(-at_least // form.block_multiple)
    return max(form.block_multiple, min(size, form.block_maximum))


def _rank(form: CacheForm, dtype: str) -> int:
    order = ("f32", dtype, "f16", "bf16")
    return order.index(form.name) if form.name in order else len(order)
