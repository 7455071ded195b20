"""Philox-4x32-10 and Gumbel noise in torch, number for number those of dovetail_sdk.sampling.philox.

Source: Salmon, Moraes, Dror, Shaw 2011, section 3.3.
"""

from __future__ import annotations

import torch
from torch import Tensor

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_WORD = 0xFFFFFFFF


def philox4x32(counter: tuple[Tensor, Tensor], key: tuple[Tensor, Tensor]) -> list[Tensor]:
    """Ten rounds for counters (c0, c1, 0, 0). Words are in i64, which products overflow to the same bits."""
    c0, c1 = torch.broadcast_tensors(*counter)  # type: ignore[no-untyped-call]
    c2 = c3 = torch.zeros_like(c0)
    k0, k1 = key
    for _ in range(10):
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1 = ((p1 >> 32) ^ c1 ^ k0) & _WORD, p1 & _WORD
        c2, c3 = ((p0 >> 32) ^ c3 ^ k1) & _WORD, p0 & _WORD
        k0, k1 = (k0 + _WEYL[0]) & _WORD, (k1 + _WEYL[1]) & _WORD
    return [c0, c1, c2, c3]


def noise(seed: Tensor, position: Tensor, vocab_size: int) -> Tensor:
    """Gumbel noise [n, V] f64 for every id.

    seed      [n, 2] i32, the bits of u32
    position  [n]    i32
    """
    groups = torch.arange(-(-vocab_size // 4), device=seed.device)
    low, high = (seed[:, word, None].long() & _WORD for word in (0, 1))
    counter = (groups[None], position[:, None].long() & _WORD)
    words = torch.stack(philox4x32(counter, (low, high)), dim=-1).flatten(1)[:, :vocab_size]
    return -torch.log(-torch.log((words.double() + 0.5) * 2.0**-32))
