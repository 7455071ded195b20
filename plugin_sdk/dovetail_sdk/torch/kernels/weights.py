"""Weights as the kernels take them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from dovetail_sdk.runner import NodeWeights
from dovetail_sdk.torch.backend import TYPES


def in_graph_dtype(weights: NodeWeights) -> Mapping[str, torch.Tensor]:
    """Every weight dense, in the type of the graph."""
    return {role: dense(weights, role) for role in weights.node.weights}


def dense(weights: NodeWeights, role: str) -> torch.Tensor:
    """One weight dense, in the type of the graph; tied weights are one array."""

    def make() -> torch.Tensor:
        array = weights.read(role) if weights.form(role).kind == "dense" else weights.f32(role)
        return weights.backend.upload(array).to(TYPES[weights.graph.dtype])  # type: ignore[no-any-return]

    made: torch.Tensor = weights.once(role, "dense", make)
    return made


def packed(weights: NodeWeights, role: str) -> dict[str, torch.Tensor]:
    """The planes of a quantised weight as they are: "weight", "scale" f32, "zero" u8 where the form has one."""
    form = weights.form(role)

    def plane(name: str) -> torch.Tensor:
        array = weights.read(role, name)
        if name == "scale":
            array = array.astype(np.float32, copy=False)
        return weights.backend.upload(array)  # type: ignore[no-any-return]

    names = ["data", "scale"] + ["zero"] * (form.kind == "int4_group")
    made = {name: weights.once(role, name, lambda name=name: plane(name)) for name in names}  # type: ignore[misc]
    return {"weight": made.pop("data"), **made}
