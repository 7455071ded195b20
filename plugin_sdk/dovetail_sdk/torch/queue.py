"""What a device does beside computing: events, copies that run beside the kernels, and errors in the contract's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from dovetail.errors import DeviceLost, OutOfMemory
from dovetail.platform import Memory

from dovetail_sdk.runner import FINISHED, Event, host_memory


class Queue:
    """The order in which a device works; this one has computed before a call returns (torch on the host)."""

    pinned = False
    """Whether host memory that copies are made from is page-locked."""

    def record(self) -> Event:
        """The end of all work issued so far; inside `copying` and `filling`, of the copies."""
        return FINISHED

    @contextmanager
    def copying(self, *tensors: torch.Tensor) -> Iterator[None]:
        """Copies issued inside begin when all work issued so far has ended, and run beside what is issued after.

        tensors  of the device, that are read or written inside and may be dropped before the copies have run
        """
        yield

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Copies issued inside run at once, beside the kernels; what is issued after `follow` comes behind them."""
        yield

    def follow(self) -> None:
        """What is issued from now on waits for the copies of `filling`."""

    def finish(self) -> None:
        """Wait for all work."""

    def memory(self) -> Memory:
        """As of now."""
        return host_memory()


class DeviceEvent(Event):
    """An event of the device's own."""

    def __init__(self, event: Any) -> None:
        self._event = event

    def done(self) -> bool:
        with device_errors():
            return bool(self._event.query())

    def wait(self) -> None:
        with device_errors():
            self._event.synchronize()


class StreamQueue(Queue):
    """A device with streams: cuda, or any whose torch module has Stream, Event, stream, current_stream and mem_get_info."""

    pinned = True

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._module: Any = torch.get_device_module(device)
        self._copies: Any = self._module.Stream(device)

    def record(self) -> Event:
        event = self._module.Event()
        event.record(self._main())
        return DeviceEvent(event)

    @contextmanager
    def copying(self, *tensors: torch.Tensor) -> Iterator[None]:
        self._copies.wait_stream(self._main())
        for tensor in tensors:
            tensor.record_stream(self._copies)
        with self._module.stream(self._copies):
            yield

    @contextmanager
    def filling(self) -> Iterator[None]:
        with self._module.stream(self._copies):
            yield

    def follow(self) -> None:
        self._main().wait_stream(self._copies)

    def finish(self) -> None:
        with device_errors():
            self._module.synchronize(self._device)

    def memory(self) -> Memory:
        """Free is what the driver has left and what torch holds without using it."""
        free, total = self._module.mem_get_info(self._device)
        held = self._module.memory_reserved(self._device)
        free += held - self._module.memory_allocated(self._device)
        return Memory(total=total, free=free, largest_allocation=free, host=False)

    def _main(self) -> Any:
        return self._module.current_stream(self._device)


def queue_of(device: torch.device) -> Queue:
    """The queue of a device."""
    return Queue() if device.type == "cpu" else StreamQueue(device)


@contextmanager
def device_errors() -> Iterator[None]:
    """What torch raises for a device that cannot go on, as DeviceLost."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceLost(f"a step had no memory: {error}") from error
    except torch.AcceleratorError as error:
        raise DeviceLost(str(error).partition("\n")[0]) from error


@contextmanager
def allocating(what: str) -> Iterator[None]:
    """What torch raises where there is no room, as OutOfMemory."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(f"{what}: {str(error).partition('. ')[0]}") from None
    except RuntimeError as error:  # the host's allocator
        if "not enough memory" not in str(error) and "DefaultCPUAllocator" not in str(error):
            raise
        raise OutOfMemory(f"{what}: {str(error).splitlines()[0]}") from None
