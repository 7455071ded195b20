"""Weights as the kernels take them."""

from __future__ import annotations

from collections.abc import Mapping

import mlx.core as mx
from dovetail_sdk.runner import NodeWeights

from dovetail_mlx.backend import TYPES


def in_graph_dtype(weights: NodeWeights) -> Mapping[str, mx.array]:
    """Every weight dense, in the type of the graph."""
    return {role: dense(weights, role) for role in weights.node.weights}


def dense(weights: NodeWeights, role: str) -> mx.array:
    """One weight dense, in the type of the graph; bf16 stays bf16 on the way."""
    array = weights.read(role) if weights.form(role).kind == "dense" else weights.f32(role)
    made = mx.array(array).astype(TYPES[weights.graph.dtype])
    mx.eval(made)
    return made
