"""Launches that stand for all: every kernel at the widths that models have, as its launcher would start it.

For the compilers of targets that are not here (offline.py): the tensors are on the meta device and hold nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from dovetail.platform import I32
from torch import Tensor

from dovetail_sdk.runner import Step
from dovetail_sdk.torch.fp8 import KINDS

from . import activations, experts, linear, norms, rotation, sampling
from .attention import attend
from .launch import Launch, recorded
from .plan import make_plan
from .quantised import EightBits, FourBits

WIDTH = 4096
FORWARD = 14336
VOCABULARY = 128256
FP8 = {
    **dict.fromkeys(("sm_90", "sm_100", "sm_120", "gfx950", "gfx1201"), torch.float8_e4m3fn),
    "gfx942": torch.float8_e4m3fnuz,
}
"""The kind of fp8 that a device converts itself."""


def specimens(architecture: str) -> Iterator[tuple[str, Launch]]:
    """Name and launch of every kernel with the tuning of an architecture, names once each."""
    groups: dict[str, Callable[[str], None]] = {
        **_attention(FP8.get(architecture)),
        **_linear(),
        **_experts(),
        "rows": _rows,
        "rotation": _rotation,
        "sampling": _sampling,
    }
    if architecture in FP8:
        groups["rotation, fp8 cache"] = _rotation_in_fp8
    seen: set[str] = set()
    for group, run in groups.items():
        with recorded() as launches:
            run(architecture)
        for launch in launches:
            name = f"{launch.name} {group}"
            if name not in seen:
                seen.add(name)
                yield name, launch


def meta(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """A tensor without memory."""
    return torch.empty(shape, dtype=dtype, device="meta")


class _Step:
    """Rows of `new` tokens each, behind 3,000 in the cache."""

    def __init__(self, rows: int, new: int) -> None:
        starts: I32 = np.arange(rows + 1, dtype=np.int32) * np.int32(new)
        past: I32 = np.full(rows, 3000, np.int32)
        self.host = Step(starts, past, (), 16)
        self.rows, self.most_new, self.longest = rows, new, 3000 + new
        self.starts = meta(rows + 1, dtype=torch.int32)
        self.past = meta(rows, dtype=torch.int32)
        self.table = meta(rows, 512, dtype=torch.int32)

    def once(self, key: object, make: Callable[[], Any]) -> Any:
        return make()

    def upload(self, array: I32) -> Tensor:
        return meta(*array.shape, dtype=torch.int32)


def _attend(
    new: int,
    heads: int,
    kv_heads: int,
    width: int,
    size: int,
    kept: torch.dtype = torch.bfloat16,
    **bounds: Any,
) -> Callable[[str], None]:
    def run(architecture: str) -> None:
        step = _Step(8, new)
        shape = {"heads": heads, "kv_heads": kv_heads, "width": width, "value_width": width}
        plan = make_plan(step, architecture, **shape)
        cache = meta(64, size, kv_heads, width, dtype=kept)
        q = meta(8 * new, heads, width)
        scales = meta(64, size, kv_heads, dtype=torch.float32)
        attend(
            q, cache, cache, step.table, step.starts, step.past, plan,
            scale=0.1, scales=(scales, scales) if kept in KINDS.values() else None, **bounds,
        )  # fmt: skip

    return run


def _attention(fp8: torch.dtype | None) -> dict[str, Callable[[str], None]]:
    """fp8 is the device's own, None where it has none."""
    bounds: dict[str, Any] = {"window": 1024, "soft_cap": 50.0}
    of_fp8 = (
        {}
        if fp8 is None
        else {
            "one token, fp8 cache": _attend(1, 32, 8, 128, 16, fp8),
            "many tokens, fp8 cache": _attend(512, 32, 8, 128, 16, fp8),
        }
    )
    return {
        **of_fp8,
        "one token, sinks": _attend(1, 64, 8, 64, 16, sinks=meta(64)),
        "one token, 32 heads, 8 of keys, 128 wide": _attend(1, 32, 8, 128, 16),
        "one token, 14 heads, 2 of keys, 64 wide, blocks of 64": _attend(1, 14, 2, 64, 64),
        "one token, 16 heads, 8 of keys, 256 wide, window, soft cap": _attend(
            1, 16, 8, 256, 16, **bounds
        ),
        "many tokens, 32 heads, 8 of keys, 128 wide": _attend(512, 32, 8, 128, 16),
        "many tokens, 14 heads, 2 of keys, 64 wide, blocks of 64": _attend(512, 14, 2, 64, 64),
        "many tokens, 16 heads, 8 of keys, 256 wide, window, soft cap": _attend(
            512, 16, 8, 256, 16, **bounds
        ),
    }


def _linear() -> dict[str, Callable[[str], None]]:
    def eight(count: int, kept: torch.dtype = torch.int8) -> Callable[[str], None]:
        def run(architecture: str) -> None:
            linear.linear_eight_bits(
                meta(count, WIDTH), meta(FORWARD, WIDTH, dtype=kept),
                meta(FORWARD, dtype=torch.float32), None, architecture=architecture,
            )  # fmt: skip

        return run

    def four(count: int, group: int) -> Callable[[str], None]:
        def run(architecture: str) -> None:
            linear.linear_four_bits(
                meta(count, WIDTH), meta(FORWARD, WIDTH // 2, dtype=torch.uint8),
                meta(WIDTH // group, FORWARD, dtype=torch.float16),
                meta(WIDTH // group, FORWARD, dtype=torch.uint8),
                None, group=group, architecture=architecture,
            )  # fmt: skip

        return run

    return {
        **{f"int8, {count} tokens": eight(count) for count in (1, 64, 256, 2048)},
        **{f"int4, {count} tokens": four(count, 128) for count in (1, 64, 256, 2048)},
        "int4 in groups of 32, 16 tokens": four(16, 32),
        "bits of fp8, 1 token": eight(1, torch.uint8),
        "int8, split, 1 token": _split,
    }


def _split(architecture: str) -> None:
    """Few outputs: the inputs are split."""
    linear.linear_eight_bits(
        meta(1, WIDTH), meta(1024, WIDTH, dtype=torch.int8), meta(1024, dtype=torch.float32),
        meta(1024, dtype=torch.float32), architecture=architecture,
    )  # fmt: skip


def _experts() -> dict[str, Callable[[str], None]]:
    def run(size: int, weight: Tensor | EightBits | FourBits) -> Callable[[str], None]:
        def product(architecture: str) -> None:
            whole = meta(64 * size, dtype=torch.int32)
            grouping = experts.Grouping(whole, meta(64, dtype=torch.int32), size)
            experts.expert_product(
                meta(32, 2048), weight, grouping, 128,
                factors=meta(128, dtype=torch.float32), architecture=architecture,
            )  # fmt: skip

        return product

    planes = (64, 16, 1536)
    int8 = EightBits(meta(64, 1536, 2048, dtype=torch.int8), meta(64, 1536, dtype=torch.float32))
    int4 = FourBits(
        meta(64, 1536, 1024, dtype=torch.uint8),
        meta(*planes, dtype=torch.float16),
        meta(*planes, dtype=torch.uint8),
        128,
    )

    def routed(architecture: str) -> None:
        experts.route(meta(32, 64), 8, normalised=True)

    return {
        "of 64": routed,
        **{f"dense, {size} pairs": run(size, meta(64, 1536, 2048)) for size in (16, 64)},
        **{f"int8, {size} pairs": run(size, int8) for size in (16, 64)},
        **{f"int4, {size} pairs": run(size, int4) for size in (16, 64)},
    }


def _rows(architecture: str) -> None:
    x, weight = meta(64, WIDTH), meta(WIDTH, dtype=torch.float32)
    norms.add_rms_norm(x, x, weight=weight, eps=1e-5, architecture=architecture)
    norms.layer_norm(x, weight=weight, bias=weight, eps=1e-5, architecture=architecture)
    activations.split_gated_activation(
        meta(64, 2 * FORWARD), activation="silu", architecture=architecture
    )


def _rotation(architecture: str) -> None:
    _rotated(architecture, torch.bfloat16)


def _rotation_in_fp8(architecture: str) -> None:
    _rotated(architecture, FP8[architecture])


def _rotated(architecture: str, kept: torch.dtype) -> None:
    q, k, positions = meta(64, 32, 128), meta(64, 8, 128), meta(1, 64, dtype=torch.int32)
    places = (meta(64, dtype=torch.int32), meta(64, dtype=torch.int32))
    cache, scales = meta(64, 16, 8, 128, dtype=kept), None
    if kept in KINDS.values():
        scales = (meta(64, 16, 8, dtype=torch.float32), meta(64, 16, 8, dtype=torch.float32))
    given = {"frequencies": meta(64, dtype=torch.float32), "architecture": architecture}
    rotation.rope(q, positions, **given)  # type: ignore[arg-type]
    rotation.kv_write(k, k, places, cache, cache, scales, architecture=architecture)
    rotation.rope_write(q, k, k, positions, places, cache, cache, scales, **given)  # type: ignore[arg-type]


def _sampling(architecture: str) -> None:
    f32, i32 = torch.float32, torch.int32
    logits, plain = meta(64, VOCABULARY, dtype=f32), meta(64, dtype=f32)
    whole = meta(64, dtype=i32)
    sampling.edit(logits, whole, whole, plain, plain)
    sampling.mask(logits, whole, meta(64, VOCABULARY // 32, dtype=i32))
    sampling.draw(
        logits, plain, whole, plain, plain, meta(64, 2, dtype=i32), whole, limited=True, random=True
    )
