"""Where programs run: a device, or a mesh of them, on which every member runs the same program on its own part.

In a mesh what differs between members has a first axis of members, divided over them: the weights of each one's view of the
graph, and its part of the cache. Everything else is whole on every member.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from dovetail.platform import Memory
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding
from numpy.typing import NDArray

from .probe import host_free_bytes, host_memory_bytes
from .trace import MESH, Array, Settings


@dataclass(frozen=True, slots=True)
class Target:
    """Devices, in the order of the mesh; some may be those of other hosts, which do the same at the same time."""

    devices: tuple[jax.Device, ...]
    settings: Settings
    emulated: bool

    def __str__(self) -> str:
        return ", ".join(str(device) for device in self.devices)

    @property
    def members(self) -> int:
        return len(self.devices)

    @property
    def divided(self) -> Sharding:
        """Of what has a first axis of members; of everything on a single device."""
        return self._sharding(PartitionSpec(MESH))

    @property
    def whole(self) -> Sharding:
        """Of what is the same on every member."""
        return self._sharding(PartitionSpec())

    def _sharding(self, spec: PartitionSpec) -> Sharding:
        if self.members == 1:
            return SingleDeviceSharding(self.devices[0])
        return NamedSharding(self._mesh(), spec)

    def _mesh(self) -> Mesh:
        return Mesh(np.array(self.devices), (MESH,))

    @property
    def own_members(self) -> tuple[int, ...]:
        """The members that are devices of this host: all, but in a mesh over several hosts."""
        here = jax.process_index()
        return tuple(
            member
            for member, device in enumerate(self.devices)
            if self.members == 1 or device.process_index == here
        )

    @property
    def several_hosts(self) -> bool:
        """Whether some members are devices of other hosts."""
        return len(self.own_members) < self.members

    def settled(self, array: Array) -> Array:
        """What a program made that is the same everywhere, where the next program looks for it."""
        return array if self.members == 1 else jax.device_put(array, self.whole)

    def put(self, numbers: NDArray[Any]) -> Array:
        """The same numbers on every member."""
        if not self.several_hosts:
            return jax.device_put(numbers, self.whole)
        placed = [jax.device_put(numbers, self.devices[member]) for member in self.own_members]
        return jax.make_array_from_single_device_arrays(numbers.shape, self.whole, placed)

    def put_parts(self, parts: Sequence[NDArray[Any]]) -> Array:
        """The numbers of each member of this host, of equal shapes; with one member, without the axis of members."""
        if self.members == 1:
            return jax.device_put(parts[0], self.whole)
        placed = [
            jax.device_put(part[None], self.devices[member])
            for part, member in zip(parts, self.own_members, strict=True)
        ]
        shape = (self.members, *parts[0].shape)
        return jax.make_array_from_single_device_arrays(shape, self.divided, placed)

    def shape(self, own: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of an array of which every member has a part of this shape."""
        return own if self.members == 1 else (self.members, *own)

    def zeros(self, own: tuple[int, ...], dtype: Any) -> Array:
        """Made on the devices, a part of this shape on each."""
        return jnp.zeros(self.shape(own), dtype, device=self.divided)

    def over_members(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """A step of one member, (params, caches, registers, vector) -> (caches, and what is whole), for all members."""
        if self.members == 1:
            return step

        def own(params: Any, caches: Any, registers: Array, vector: Array) -> Any:
            mine = jax.tree.map(lambda array: array[0], (params, caches))
            made, *rest = step(*mine, registers, vector)
            return tuple(cache[None] for cache in made), *rest

        parts, same = PartitionSpec(MESH), PartitionSpec()
        return jax.shard_map(
            own,
            mesh=self._mesh(),
            in_specs=(parts, parts, same, same),
            out_specs=(parts, same, same, same),
            check_vma=False,  # what is whole is so because every member computes it alike
        )

    def memory(self) -> Memory:
        """As Device.memory."""
        own = [self.devices[member] for member in self.own_members]
        if self.emulated:
            free = host_free_bytes() // len(own)
            return Memory(host_memory_bytes() // len(own), free, largest_allocation=free, host=True)
        return min(map(_memory, own), key=lambda memory: memory.free)


def _memory(device: jax.Device) -> Memory:
    stats = device.memory_stats() or {}
    total = int(stats.get("bytes_limit", 0))
    free = total - int(stats.get("bytes_in_use", 0))
    largest = int(stats.get("largest_free_block_bytes", free))
    return Memory(total, free, largest_allocation=largest, host=False)
