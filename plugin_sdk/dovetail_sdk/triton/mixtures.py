"""The op mixture on the kernels of experts: how its weights are kept, and what it takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from dovetail.graph import Graph, Node
from torch import Tensor

from dovetail_sdk.runner import NodeWeights
from dovetail_sdk.torch.backend import TYPES

from .experts import mixture
from .quantised import EightBits, FourBits, four_bits_fit, packed

Experts = Tensor | EightBits | FourBits


def supports(node: Node, graph: Graph) -> str | None:
    """Why a mixture cannot run on the kernels."""
    refused = (four_bits_fit(graph.weights[name]) for name in node.weights.values())
    return next((reason for reason in refused if reason), None)


def pack(weights: NodeWeights, fp8: str | None) -> dict[str, Any]:
    """Every form stays as it is in memory, with an axis of experts before its own."""
    logits = weights.graph.values[weights.node.inputs[1]].shape[1]
    return {role: _of_experts(weights, role, int(logits), fp8) for role in ("gate_up", "down")}


def _of_experts(weights: NodeWeights, role: str, experts: int, fp8: str | None) -> Experts:
    if weights.form(role).kind == "dense":
        data = weights.backend.upload(np.ascontiguousarray(weights.read(role)))
        dense: Tensor = data.to(TYPES[weights.graph.dtype])
        return dense.view(experts, -1, dense.shape[1])
    whole = packed(weights, role, fp8)
    rows = whole.data.view(experts, -1, whole.data.shape[1])
    if isinstance(whole, EightBits):
        return replace(whole, data=rows, scale=whole.scale.view(experts, -1))
    scale, zero = (_turned(plane, experts) for plane in (whole.scale, whole.zero))
    return replace(whole, data=rows, scale=scale, zero=zero)


def _turned(plane: Tensor, experts: int) -> Tensor:
    """[groups, X * O] as [X, groups, O]."""
    return plane.view(len(plane), experts, -1).transpose(0, 1).contiguous()


class Mixture:
    """The `call` of mixture."""

    def __init__(self, architecture: str) -> None:
        self._architecture = architecture

    def __call__(
        self,
        x: Tensor,
        logits: Tensor,
        *,
        gate_up: Experts,
        down: Experts,
        k: int,
        normalised: bool,
        activation: str,
    ) -> Tensor:
        """x [T, E], logits [T, X] -> [T, E], f32; see dovetail_sdk.reference.expert_ops."""
        if not len(x):
            return torch.empty_like(x)
        return mixture(
            x.contiguous(), logits.contiguous(), gate_up, down,
            k=k, normalised=normalised, activation=activation, architecture=self._architecture,
        )  # fmt: skip
