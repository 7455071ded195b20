"""How OpenVINO is told to compile and run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dovetail.graph import Graph

from . import host, measured


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user may choose about the device.

    threads    that compute
    cpus       logical processors that they stay on; empty: wherever the system puts them
    precision  "accurate", "balanced" or "fast": of activations beside int8 and int4 weights, in the kernels of our own; None: what
               is measured to be best for them
    kernels    "auto", or "openvino" to have nothing but OpenVINO run
    """

    threads: int
    cpus: tuple[int, ...] = ()
    precision: str | None = None
    kernels: str = "auto"

    def precision_with(self, kernels: str) -> str:
        """What activations are quantised to, with a set of the library's kernels."""
        return self.precision or measured.default_precision(kernels)

    @classmethod
    def of(cls, options: Mapping[str, str]) -> Settings:
        """From options as CpuPlatform declares them; the rest from the machine."""
        allowed = host.allowed_cpus()
        cpus = allowed if options.get("numa") == "all" else host.node_cpus()
        return cls(
            threads=int(options.get("threads") or host.usable_cores(cpus)),
            cpus=tuple(cpus) if len(cpus) < len(allowed) else (),
            precision=options.get("precision"),
            kernels=options.get("kernels", "auto"),
        )


def compile_settings(graph: Graph, form: str, settings: Settings) -> dict[str, str | int | bool]:
    """Properties for `compile_model`.

    f32 graphs are exact: nothing is quantised on the fly. bf16 graphs over int8 or int4 weights quantise activations
    to int8 in groups, which is what makes their multiplication fast.
    """
    return {
        "INFERENCE_PRECISION_HINT": graph.dtype,
        "KV_CACHE_PRECISION": form,
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0
        if graph.dtype == "f32"
        else measured.activation_group(),
        "INFERENCE_NUM_THREADS": settings.threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        # Pinned threads that share their core with a busy neighbour hold up every parallel region.
        "ENABLE_CPU_PINNING": False,
    }
