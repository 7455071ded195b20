"""x @ weight.T for every form of weights."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from .kernels.select import int4_kernel, int8_kernel
from .trace import Array, Loaded, Settings

F32 = jnp.float32


def multiply(settings: Settings, x: Array, weight: Loaded) -> Array:
    """x [*, I] times a weight [O, I] -> [*, O] in f32."""
    kind = weight.form.kind
    if kind == "dense":
        return product(x, weight.data)
    if kind == "int8_channel":
        scale = weight.planes["scale"]
        kernel = int8_kernel(settings, x, weight)
        if kernel is not None:
            return kernel(x, weight.data, scale)
        return product(x, weight.data) * scale
    kernel = int4_kernel(settings, x, weight)
    if kernel is not None:
        return kernel(x, weight.data, weight.planes["scale"], weight.planes["zero"])
    return product(x, unpacked(weight, x.dtype))


def product(x: Array, weight: Array) -> Array:
    """x [*, I] times weight [O, I], summed in f32; narrower weights are widened on the way."""
    dtype = x.dtype
    wide = dtype == F32
    return lax.dot_general(
        x,
        weight.astype(dtype),
        (((x.ndim - 1,), (1,)), ((), ())),
        precision=lax.Precision.HIGHEST if wide else lax.Precision.DEFAULT,
        preferred_element_type=F32,
    )


def unpacked(weight: Loaded, dtype: jnp.dtype) -> Array:
    """An int4_group weight [O, I] as numbers; packed as weights.pack_int4 does."""
    data = weight.data
    low, high = data & 15, data >> 4
    numbers = lax.concatenate([low, high], 1).astype(F32)
    grouped = numbers.reshape(data.shape[0], -1, weight.form.group)
    zero, scale = weight.planes["zero"].astype(F32), weight.planes["scale"]
    return ((grouped - zero[..., None]) * scale[..., None]).reshape(numbers.shape).astype(dtype)
