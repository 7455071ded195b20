"""The NumPy definitions as kernels of another device, for ops that it has no kernel of its own for yet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from dovetail.graph import OPS as SPECS
from dovetail.platform import F32

from dovetail_sdk.runner import Backend, Kernel, Layer, NodeWeights

from .ops import OPS


def host_kernels(backend: Backend, ops: Collection[str] = tuple(OPS)) -> dict[str, Kernel]:
    """Kernels that fetch their inputs, compute in NumPy and bring the result back.

    Right and slow: for bringing a platform up one kernel at a time. A layered op moves its whole layer of the cache.
    """
    return {
        op: Kernel(
            f"host {op}",
            _OnHost(backend, OPS[op], SPECS[op].layered),
            pack=_host_weights,
            revision=SPECS[op].revision,
            note="in NumPy on the host: no kernel of the platform's own",
        )
        for op in ops
    }


def _host_weights(weights: NodeWeights) -> Mapping[str, F32]:
    return {role: weights.f32(role) for role in weights.node.weights}


@dataclass(frozen=True, slots=True)
class _OnHost:
    """A definition, called on the device's arrays."""

    backend: Backend
    function: Callable[..., Any]
    layered: bool

    def __call__(self, *inputs: Any, **arguments: Any) -> Any:
        layer: Layer | None = arguments.get("cache")
        if layer is not None:
            arguments["cache"] = Layer(
                layer.group, self._writable(layer.keys), self._writable(layer.values)
            )
        result = self.function(*(self._number(array) for array in inputs), **arguments)
        if layer is not None:
            kept = arguments["cache"]
            layer.keys, layer.values = (
                self.backend.upload(array) for array in (kept.keys, kept.values)
            )
        if isinstance(result, tuple):
            return tuple(self.backend.upload(part) for part in result)
        return self.backend.upload(result)

    def _number(self, array: Any) -> Any:
        """An input on the host: ids as they are, numbers as f32, the order of cache writes as nothing."""
        if array is None:
            return None
        host = self.backend.download(array)
        return host if host.dtype == np.int32 else host.astype(np.float32, copy=False)

    def _writable(self, array: Any) -> Any:
        host = self.backend.download(array)
        return host if host.flags.writeable else host.copy()
