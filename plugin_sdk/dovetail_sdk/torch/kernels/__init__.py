"""Every op of the model graph in plain torch: right on any device that torch has, and fast where it is a vendor's library.

Kernels of a platform's own replace these one by one, under the same op.
"""

from __future__ import annotations

from dovetail.graph import OPS

from dovetail_sdk.runner import Kernel

from . import attention, encoder, experts, norms, pointwise
from .linear import linear, pack_linear
from .rope import pack_rope, rope
from .weights import in_graph_dtype

_PLAIN = (
    pointwise.embed,
    pointwise.embed_part,
    pointwise.embed_positions,
    pointwise.all_reduce,
    pointwise.all_gather,
    pointwise.take_rows,
    pointwise.activation,
    pointwise.gated_activation,
    pointwise.split_gated_activation,
    pointwise.add,
    pointwise.mul,
    pointwise.scale,
    pointwise.soft_cap,
    pointwise.tanh,
    pointwise.split,
    pointwise.reshape,
    norms.rms_norm,
    norms.layer_norm,
    norms.add_rms_norm,
    attention.kv_write,
    attention.attention,
    attention.attention_write,
    attention.sink_attention,
    experts.mixture,
    encoder.whole_attention,
    encoder.mean_rows,
)

KERNELS: dict[str, Kernel] = {
    **{
        function.__name__: Kernel(
            f"torch {function.__name__}",
            function,
            pack=in_graph_dtype,
            revision=OPS[function.__name__].revision,
        )
        for function in _PLAIN
    },
    "linear": Kernel("torch linear", linear, pack=pack_linear),
    "rope": Kernel("torch rope", rope, pack=pack_rope),
}
"""Op -> its kernel; the collectives are those of a mesh of one, dovetail_sdk.torch.collectives has the others."""
