"""Every op that the core cannot take apart, and two fused ones. Values are in the graph's type."""

from __future__ import annotations

from dovetail_sdk.runner import Kernel

from . import pointwise
from .attention import attention, kv_write
from .linear import linear, pack_linear
from .norms import add_rms_norm, layer_norm, rms_norm
from .rope import pack_rope, rope
from .weights import in_graph_dtype

KERNELS = {
    "embed": Kernel("mlx take", pointwise.embed, pack=in_graph_dtype),
    "linear": Kernel("mlx matmul", linear, pack=pack_linear),
    "rms_norm": Kernel("mlx fast.rms_norm", rms_norm, pack=in_graph_dtype),
    "layer_norm": Kernel("mlx fast.layer_norm", layer_norm, pack=in_graph_dtype),
    "add_rms_norm": Kernel("mlx fast.rms_norm", add_rms_norm, pack=in_graph_dtype),
    "rope": Kernel("mlx rope", rope, pack=pack_rope),
    "kv_write": Kernel("mlx scatter", kv_write),
    "attention": Kernel("mlx fast.scaled_dot_product_attention", attention),
    "activation": Kernel("mlx activation", pointwise.activation),
    "gated_activation": Kernel("mlx gated_activation", pointwise.gated_activation),
    "split_gated_activation": Kernel("mlx gated_activation", pointwise.split_gated_activation),
    "add": Kernel("mlx add", pointwise.add),
    "mul": Kernel("mlx mul", pointwise.mul),
    "scale": Kernel("mlx scale", pointwise.scale),
    "soft_cap": Kernel("mlx soft_cap", pointwise.soft_cap),
    "split": Kernel("mlx split", pointwise.split),
    "reshape": Kernel("mlx reshape", pointwise.reshape),
    "take_rows": Kernel("mlx take", pointwise.take_rows),
}
