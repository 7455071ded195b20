"""Which kernel runs which op on which chip, and why: the one file that reads the architecture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dovetail.graph import BF16, F16, F32, INT8, WeightForm
from dovetail.platform import CacheForm, Capabilities, Feature
from dovetail_sdk.runner import Kernel
from dovetail_sdk.torch import KERNELS, over
from dovetail_sdk.torch.draw import Sampling

INT4 = tuple(WeightForm("int4_group", group=group) for group in (128, 64, 32))
TESTED = ("emulated", "host")
"""Where the conformance suite has run."""

VENDOR = {
    "linear": "dense products by cuBLAS, which no kernel here beats",
    "add": "one element at a time: torch's kernel reaches the memory's rate",
    "embed": "a gather: torch's kernel reaches the memory's rate",
}
"""Ops left to torch, and why; what is not named here has no kernel of ours yet."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a device runs."""

    kernels: Mapping[str, Kernel]
    sampling: Sampling


def table(architecture: str) -> Chosen:
    """Kernels for "sm_80" ... "sm_120", "emulated", or "host" without any of ours."""
    plain = {
        op: replace(kernel, note=VENDOR.get(op, kernel.note)) for op, kernel in KERNELS.items()
    }
    if architecture == "host":
        return Chosen(plain, {})
    from dovetail_sdk import triton

    own = {
        op: replace(kernel, note=kernel.note or f"ours, with the tuning of {architecture}")
        for op, kernel in triton.kernels(architecture).items()
    }
    return Chosen(over(own, plain), getattr(triton, "SAMPLING", {}))


def capabilities(architecture: str) -> Capabilities:
    """What is offered on a chip; what nobody has seen work there is unverified."""
    dtypes = ("bf16", "f16", "f32")
    return Capabilities(
        ops={},  # from the table
        compute_dtypes=dtypes,
        weight_forms=(BF16, F16, F32, INT8, *INT4),
        cache_forms=tuple(CacheForm(form, 1, 1024, compute_dtypes=(form,)) for form in dtypes),
        fused_ops=("add_rms_norm", "split_gated_activation", *_fused(architecture)),
        rewrites=frozenset({"merge_gate_up", "merge_qkv"}),
        columns=frozenset({"token_types"}),
        features=() if architecture in TESTED else _untried(architecture, dtypes),
    )


def _fused(architecture: str) -> tuple[str, ...]:
    """Ops of our own kernels."""
    if architecture == "host":
        return ()
    from dovetail_sdk.triton import FUSED

    return FUSED


def _untried(architecture: str, dtypes: tuple[str, ...]) -> tuple[Feature, ...]:
    reason = f"compiled and emulated, not run on {architecture}"
    return tuple(Feature(f"dtype:{dtype}", "unverified", reason) for dtype in dtypes)
