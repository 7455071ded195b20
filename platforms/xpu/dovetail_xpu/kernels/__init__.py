"""The table of kernels: one launcher per op, its OpenCL C beside it."""

from __future__ import annotations

from dovetail.graph import COMPUTE_DTYPES, Graph, Node
from dovetail_sdk.opencl import OpenclBackend
from dovetail_sdk.runner import Kernel

from dovetail_xpu.select import Variant

from .attention import Attention
from .linear import Linear
from .mixture import Mixture
from .norms import Norms
from .pointwise import Pointwise
from .rope import Rope
from .rows import Rows
from .tools import Tools

MOST_WIDTH = 256
"""Head width up to which a tile of queries fits the local memory of every GPU that is known here."""


def kernels(backend: OpenclBackend, variant: Variant) -> dict[str, Kernel]:
    """Every op, with the variants that were chosen for the device."""
    tools = Tools(backend, variant)
    point, norms, rows, rope = Pointwise(tools), Norms(tools), Rows(tools), Rope(tools)
    linear, attention, mixture = Linear(tools), Attention(tools), Mixture(tools, point)
    note = "an item per output" if variant.lane else "sixteen outputs per item"
    return {
        "embed": Kernel("opencl embed", rows.embed, pack=rows.pack),
        "embed_positions": Kernel("opencl embed", rows.embed_positions, pack=rows.pack),
        "take_rows": Kernel("opencl take_rows", rows.take_rows),
        "mean_rows": Kernel("opencl mean_rows", rows.mean_rows),
        "linear": Kernel("opencl linear", linear.linear, pack=linear.pack, note=note),
        "mixture": Kernel("opencl mixture", mixture.mixture, pack=mixture.pack, note=note),
        "rms_norm": Kernel("opencl rms_norm", norms.rms_norm),
        "add_rms_norm": Kernel("opencl add_rms_norm", norms.add_rms_norm),
        "layer_norm": Kernel("opencl layer_norm", norms.layer_norm),
        "rope": Kernel("opencl rope", rope.rope, pack=rope.pack),
        "kv_write": Kernel("opencl kv_write", attention.kv_write),
        "attention": Kernel("opencl attention", attention.attention, supports=narrow),
        "attention_write": Kernel("opencl attention", attention.attention_write, supports=narrow),
        "sink_attention": Kernel("opencl attention", attention.sink_attention, supports=narrow),
        "whole_attention": Kernel("opencl attention", attention.whole_attention, supports=narrow),
        "activation": Kernel("opencl activation", point.activation),
        "gated_activation": Kernel("opencl gated_activation", point.gated_activation),
        "split_gated_activation": Kernel("opencl gated_activation", point.split_gated_activation),
        "add": Kernel("opencl add", point.add),
        "mul": Kernel("opencl mul", point.mul),
        "scale": Kernel("opencl scale", point.scale),
        "soft_cap": Kernel("opencl soft_cap", point.soft_cap),
        "tanh": Kernel("opencl tanh", point.tanh),
        "split": Kernel("a view", point.split),
        "reshape": Kernel("a view", point.reshape),
    }


def narrow(node: Node, graph: Graph) -> str | None:
    """Why an attention cannot run: heads too wide for local memory."""
    widths = [
        graph.values[name].shape[-1]
        for name in node.inputs
        if graph.values[name].dtype in COMPUTE_DTYPES
    ]
    widest = max(width for width in widths if isinstance(width, int))
    if widest > MOST_WIDTH:
        return f"heads are {widest} wide; {MOST_WIDTH} fit in local memory"
    return None
