"""Wrong arithmetic: kernels and weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from dovetail.graph import Weight
from dovetail.platform import F32, I32, WeightSource
from numpy.typing import NDArray

from dovetail_sdk.reference import ops

from .attention import Kernel, half_sums, with_changed
from .plant import mutant


def linear_in_f16(x: F32, *, weight: F32, bias: F32 | None = None) -> F32:
    y = half_sums(x, weight)
    return y if bias is None else y + bias


def linear_in_bf16(x: F32, *, weight: F32, bias: F32 | None = None) -> F32:
    y = ops.linear(x, weight=weight, bias=bias)
    return y.astype(ml_dtypes.bfloat16).astype(np.float32)


def layer_norm_without_mean(x: F32, *, weight: F32, bias: F32 | None = None, eps: float) -> F32:
    y = ops.rms_norm(x, weight=weight, eps=eps)
    return y if bias is None else y + bias


def layer_norm_of_sample(x: F32, *, weight: F32, bias: F32 | None = None, eps: float) -> F32:
    """The variance divided by W - 1."""
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.square(centred).sum(axis=-1, keepdims=True) / max(x.shape[-1] - 1, 1)
    y = centred / np.sqrt(variance + np.float32(eps)) * weight
    return np.asarray(y if bias is None else y + bias)


def add_rms_norm_without_sum(x: F32, residual: F32, *, weight: F32, eps: float) -> tuple[F32, F32]:
    return ops.rms_norm(x + residual, weight=weight, eps=eps), residual


def embed_next(ids: I32, *, table: F32) -> F32:
    return np.asarray(table[(ids + 1) % len(table)])


def gated_the_other_way(gate: F32, up: F32, *, activation: str) -> F32:
    return ops.gated_activation(up, gate, activation=activation)


def split_the_other_way(x: F32, *, activation: str) -> F32:
    up, gate = np.split(x, 2, axis=-1)
    return ops.gated_activation(gate, up, activation=activation)


def take_rows_backwards(x: F32, rows: I32) -> F32:
    return np.asarray(x[rows][::-1])


def rope_by_step(x: F32, positions: I32, **attributes: Any) -> F32:
    return ops.rope(x, np.arange(len(x), dtype=np.int32)[None], **attributes)


@dataclass(frozen=True, slots=True)
class Reread(WeightSource):
    """Weights of which some planes are not what they are."""

    inner: WeightSource
    kind: str
    plane: str
    change: Callable[[Any], Any]

    def spec(self, name: str) -> Weight:
        return self.inner.spec(name)

    def planes(self, name: str) -> tuple[str, ...]:
        return self.inner.planes(name)

    def read(
        self, name: str, plane: str = "data", rows: slice = slice(None)
    ) -> NDArray[np.generic]:
        array = self.inner.read(name, plane, rows)
        ours = plane == self.plane and self.spec(name).form.kind == self.kind
        return self.change(array) if ours else array


def reread(
    kind: str, plane: str, change: Callable[[Any], Any]
) -> Callable[[WeightSource], WeightSource]:
    return lambda inner: Reread(inner, kind, plane, change)


def first_everywhere(array: Any) -> Any:
    return np.broadcast_to(array.reshape(-1)[0], array.shape)


def other_nibble(array: Any) -> Any:
    return (array >> 4) | (array << 4)


def norms(**changes: Callable[[Any], Any]) -> Mapping[str, Kernel]:
    return {op: with_changed(op, **changes) for op in ("rms_norm", "add_rms_norm", "layer_norm")}


MUTANTS = (
    mutant(
        "linear-in-f16",
        "matrix products are summed in f16",
        "ops",
        ops="^linear$",
        kernels={"linear": linear_in_f16},
    ),
    mutant(
        "linear-in-bf16",
        "matrix products of f32 graphs are rounded to bf16",
        "ops",
        ops="^linear$",
        kernels={"linear": linear_in_bf16},
    ),
    mutant(
        "linear-bias-ignored",
        "the bias is not added",
        "ops",
        ops="^linear$",
        kernels={"linear": with_changed("linear", bias=lambda _: None)},
    ),
    mutant(
        "rope-base",
        "rotary frequencies are those of another base",
        "ops",
        ops="^rope$",
        kernels={"rope": with_changed("rope", frequencies=lambda f: tuple(x**1.1 for x in f))},
    ),
    mutant(
        "rope-pairs",
        "rotary pairs are interleaved where they should be halves, and the other way round",
        "ops",
        ops="^rope$",
        kernels={
            "rope": lambda x, positions, *, interleaved=False, **rest: ops.rope(
                x, positions, interleaved=not interleaved, **rest
            )
        },
    ),
    mutant(
        "rope-backwards",
        "rotation by the negative angle",
        "ops",
        ops="^rope$",
        kernels={"rope": with_changed("rope", frequencies=lambda f: tuple(-x for x in f))},
    ),
    mutant(
        "rope-factor-ignored",
        "cos and sin are not multiplied by factor",
        "ops",
        ops="^rope$",
        kernels={"rope": with_changed("rope", factor=lambda _: 1.0)},
    ),
    mutant(
        "rope-by-step",
        "positions are counted in the step, not taken from the batch",
        "ops",
        ops="^rope$",
        kernels={"rope": rope_by_step},
    ),
    mutant(
        "norm-without-eps",
        "norms add no eps",
        "ops",
        ops="norm$",
        kernels=norms(eps=lambda _: 0.0),
    ),
    mutant(
        "norm-weight-plus-one",
        "norms multiply by 1 + weight",
        "ops",
        ops="norm$",
        kernels=norms(weight=lambda w: w + 1),
    ),
    mutant(
        "layer-norm-without-mean",
        "layer norm does not subtract the mean",
        "ops",
        ops="^layer_norm$",
        kernels={"layer_norm": layer_norm_without_mean},
    ),
    mutant(
        "layer-norm-of-sample",
        "layer norm's variance is divided by W - 1",
        "ops",
        ops="^layer_norm$",
        kernels={"layer_norm": layer_norm_of_sample},
    ),
    mutant(
        "residual-not-summed",
        "the second output of add_rms_norm is the residual before the sum",
        "ops",
        ops="^add_rms_norm$",
        kernels={"add_rms_norm": add_rms_norm_without_sum},
    ),
    mutant(
        "gate-and-up-swapped",
        "the activation is applied to up instead of gate",
        "ops",
        ops="^gated_activation$",
        kernels={"gated_activation": gated_the_other_way},
    ),
    mutant(
        "gate-half-swapped",
        "the second half of a joined gate and up is taken for the gate",
        "ops",
        ops="^split_gated_activation$",
        kernels={"split_gated_activation": split_the_other_way},
    ),
    mutant(
        "embed-next-row",
        "embed takes the row after the right one",
        "ops",
        ops="^embed$",
        kernels={"embed": embed_next},
    ),
    mutant(
        "outputs-backwards",
        "output rows come in the wrong order",
        "ops",
        ops="^take_rows$",
        kernels={"take_rows": take_rows_backwards},
    ),
    mutant(
        "int8-one-scale",
        "int8 weights have one scale for all channels",
        "ops",
        ops="^linear$",
        source=reread("int8_channel", "scale", first_everywhere),
    ),
    mutant(
        "fp8-one-scale",
        "fp8 weights have one scale for all channels",
        "ops",
        ops="^linear$",
        source=reread("fp8_channel", "scale", first_everywhere),
    ),
    mutant(
        "int4-nibbles-swapped",
        "the high four bits of a byte come first",
        "ops",
        ops="^linear$",
        source=reread("int4_group", "data", other_nibble),
    ),
    mutant(
        "int4-zero-ignored",
        "zero points of int4 groups are taken for 0",
        "ops",
        ops="^linear$",
        source=reread("int4_group", "zero", np.zeros_like),
    ),
    mutant(
        "int4-one-scale",
        "int4 weights have one scale for all groups",
        "ops",
        ops="^linear$",
        source=reread("int4_group", "scale", first_everywhere),
    ),
)
