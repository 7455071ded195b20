"""Which graphs the kernel library runs whole, and why not the others."""

from __future__ import annotations

from dovetail.graph import Graph, Node

from .bindings import ACTIVATION
from .library import Library, find
from .lower import OPS

CACHE_FORM = "bf16"
_WIDEST_HEAD = 512
_WEIGHTS = ("bf16", "int8", "int4g32", "int4g64", "int4g128")


def usable(graph: Graph) -> Library | str:
    """The library if it runs every node of the graph, else why OpenVINO has to."""
    library = find()
    if isinstance(library, str):
        return library
    if graph.dtype != "bf16":
        return f"the kernels compute in bf16, and {graph.dtype} was asked for"
    for node in graph.nodes:
        if reason := _refuse(graph, node):
            return f"{reason} (node {node.name})"
    return library


def _refuse(graph: Graph, node: Node) -> str | None:
    if node.op not in OPS:
        return f"the kernels have no {node.op}"
    if node.op in ("linear", "embed"):
        name = node.weights["weight" if node.op == "linear" else "table"]
        if (form := str(graph.weights[name].form)) not in _WEIGHTS:
            return f"the kernels multiply {', '.join(_WEIGHTS)}, not {form}"
        if len(graph.values[node.inputs[0]].shape) > 2:
            return "the kernels multiply values of two axes"
    if node.op == "split" and len(graph.values[node.inputs[0]].shape) != 2:
        return "the kernels split values of two axes"
    if node.op == "rms_norm" and len(graph.values[node.inputs[0]].shape) < 2:
        return "the kernels norm values of two or three axes"
    if node.attributes.get("activation", "silu") not in ACTIVATION:
        return f"the kernels have no {node.attributes['activation']}"
    if node.op in ("attention", "attention_write"):
        return _refuse_attention(graph, node)
    if any(
        graph.values[name].shape[:1] not in (("T",), ("N",))
        for name in node.outputs
        if node.op != "kv_write"
    ):
        return "the kernels want values whose first axis is T or N"
    return None


def _refuse_attention(graph: Graph, node: Node) -> str | None:
    group = graph.cache[graph.group_of(node.layer if node.layer is not None else -1)]
    if max(group.key_width, group.value_width) > _WIDEST_HEAD:
        return f"the kernels attend over heads up to {_WIDEST_HEAD} wide"
    return None
