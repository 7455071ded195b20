"""Ops on one element or row at a time. What is more than one operation is computed in f32."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def embed(ids: Tensor, *, table: Tensor) -> Tensor:
    """Rows of a table: ids [T], table [V, E] -> [T, E]."""
    return table.index_select(0, ids)


def embed_part(ids: Tensor, *, table: Tensor, first: int) -> Tensor:
    """Rows of the part of a table that begins at row `first`, and 0 for ids that it does not hold: ids [T] -> [T, E]."""
    at = ids - first
    held = (at >= 0) & (at < len(table))
    rows = table.index_select(0, torch.where(held, at, 0))
    return torch.where(held[:, None], rows, 0)


def embed_positions(positions: Tensor, *, table: Tensor, offset: int = 0) -> Tensor:
    """Rows of a table of learned positions: positions [P, T] -> [T, E]."""
    return table.index_select(0, positions[0] + offset)


def all_reduce(x: Tensor) -> Tensor:
    """The sum over the members of a mesh of one."""
    return x


def all_gather(x: Tensor, *, parts: int = 1) -> Tensor:
    """The parts of the members of a mesh of one. ValueError for more: those are a mesh's own kernels."""
    if parts != 1:
        raise ValueError(f"all_gather of {parts} parts on one device")
    return x


def take_rows(x: Tensor, rows: Tensor) -> Tensor:
    """x [T, E], rows [N] -> [N, E]."""
    return x.index_select(0, rows)


def activation(x: Tensor, *, activation: str) -> Tensor:
    """silu, gelu, gelu_tanh or relu, any shape; f32."""
    x = x.float()
    if activation == "silu":
        return functional.silu(x)
    if activation == "gelu":
        return functional.gelu(x)
    if activation == "gelu_tanh":
        return functional.gelu(x, approximate="tanh")
    return functional.relu(x)


_ACTIVATION = activation  # gated_activation has an argument of that name


def gated_activation(gate: Tensor, up: Tensor, *, activation: str) -> Tensor:
    """activation(gate) * up: [*, F]; f32."""
    return _ACTIVATION(gate, activation=activation) * up


def split_gated_activation(x: Tensor, *, activation: str) -> Tensor:
    """The first half of the last axis is gate, the second up: [*, 2F] -> [*, F]."""
    gate, up = x.chunk(2, dim=-1)
    return gated_activation(gate, up, activation=activation)


def add(a: Tensor, b: Tensor) -> Tensor:
    """a + b."""
    return a + b


def mul(a: Tensor, b: Tensor) -> Tensor:
    """a * b."""
    return a * b


def scale(x: Tensor, *, factor: float) -> Tensor:
    """x * factor; f32."""
    return x.float() * factor


def soft_cap(x: Tensor, *, cap: float) -> Tensor:
    """cap * tanh(x / cap); f32."""
    return torch.tanh(x.float() / cap) * cap


def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent; f32."""
    return torch.tanh(x.float())


def split(x: Tensor, *, sizes: tuple[int, ...]) -> tuple[Tensor, ...]:
    """Consecutive pieces of the last axis, as views: [*, W] -> one [*, size] per size."""
    return torch.split(x, list(sizes), dim=-1)


def reshape(x: Tensor, *, shape: tuple[int, ...]) -> Tensor:
    """The axes after the first become `shape`; a view where rows lie in one piece."""
    return x.reshape(x.shape[0], *shape)
