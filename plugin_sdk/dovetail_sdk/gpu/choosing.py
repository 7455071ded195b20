"""Which kernel runs which op on which chip, and why."""

from __future__ import annotations

from dataclasses import replace

from dovetail.graph import BF16, F16, F32, FP8, INT8, WeightForm
from dovetail.platform import CacheForm, Capabilities, Feature

from dovetail_sdk.runner import Kernel
from dovetail_sdk.torch import KERNELS, over
from dovetail_sdk.torch.draw import Sampling

from .chip import Chip
from .emulation import HOST

DTYPES = ("bf16", "f16", "f32")
INT4 = tuple(WeightForm("int4_group", group=group) for group in (128, 64, 32))

REACHED = "torch's kernel reaches the memory's rate"
PLAIN = {
    "linear": "dense products by {library}, which no kernel here beats",
    "add": f"one element at a time: {REACHED}",
    "embed": f"a gather: {REACHED}",
    "take_rows": f"a gather: {REACHED}",
}
"""Ops left to torch, and why; what is not named here has no kernel of ours yet."""


def kernels(chip: Chip) -> dict[str, Kernel]:
    """The table of a device: our kernels with the chip's tuning, before torch's own."""
    plain = {
        op: replace(kernel, note=PLAIN.get(op, kernel.note).format(library=chip.library))
        for op, kernel in KERNELS.items()
    }
    if chip.architecture == HOST:
        return plain
    from dovetail_sdk import triton

    own = {
        op: replace(kernel, note=kernel.note or f"ours, with the tuning of {chip.architecture}")
        for op, kernel in triton.kernels(chip.architecture, chip.fp8).items()
    }
    return over(own, plain)


def sampling(chip: Chip) -> Sampling:
    """Kernels in the place of dovetail_sdk.torch.draw's."""
    if chip.architecture == HOST:
        return {}
    from dovetail_sdk.triton import SAMPLING

    return SAMPLING


def capabilities(chip: Chip) -> Capabilities:
    """What is offered on a chip; what nobody has seen work there is unverified."""
    forms = [CacheForm(form, 1, 1024, compute_dtypes=(form,)) for form in DTYPES]
    if chip.fp8:
        forms.append(CacheForm("fp8", 1, 1024))
    return Capabilities(
        ops={},  # from the table
        compute_dtypes=DTYPES,
        weight_forms=(BF16, F16, F32, INT8, FP8, *INT4),
        cache_forms=tuple(forms),
        fused_ops=("add_rms_norm", "split_gated_activation", *_fused(chip)),
        rewrites=frozenset({"merge_gate_up", "merge_qkv"}),
        columns=frozenset({"token_types"}),
        features=() if chip.stands_in else _untried(chip),
    )


def _fused(chip: Chip) -> tuple[str, ...]:
    """Ops of our own kernels."""
    if chip.architecture == HOST:
        return ()
    from dovetail_sdk.triton import FUSED

    return FUSED


def _untried(chip: Chip) -> tuple[Feature, ...]:
    reason = f"compiled and emulated, not run on {chip.architecture}"
    return tuple(Feature(f"dtype:{dtype}", "unverified", reason) for dtype in DTYPES)
