"""Putting a table of kernels together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from dovetail.graph import Graph, Node

from dovetail_sdk.runner import Kernel, NodeWeights


def either(first: Kernel, otherwise: Kernel) -> Kernel:
    """The first where it supports a node, else the other: decided per node when its weights are packed."""

    def pack(weights: NodeWeights) -> Mapping[str, Any]:
        taken = first if first.supports(weights.node, weights.graph) is None else otherwise
        return {"run": taken.call, **taken.pack(weights)}

    def call(*inputs: Any, run: Callable[..., Any], **arguments: Any) -> Any:
        return run(*inputs, **arguments)

    def supports(node: Node, graph: Graph) -> str | None:
        if first.supports(node, graph) is None:
            return None
        return otherwise.supports(node, graph)

    name = f"{first.name}, else {otherwise.name}"
    return replace(first, name=name, call=call, supports=supports, pack=pack)


def over(own: Mapping[str, Kernel], plain: Mapping[str, Kernel]) -> dict[str, Kernel]:
    """A platform's own kernels before the plain ones of the same op; ops that have only one, as they are."""
    mixed = {op: either(kernel, plain[op]) if op in plain else kernel for op, kernel in own.items()}
    return {**plain, **mixed}
