"""The token that each slot sampled last, on the device."""

from __future__ import annotations

import torch
from dovetail.platform import I32


class DeviceRegisters:
    """0 before a slot sampled; slot 0 is scrap. All of it is issued and never waited for.

    tokens  [slots] i32; another tensor after `reserve` had to grow
    """

    def __init__(self, device: torch.device, slots: int = 4096) -> None:
        self.tokens = torch.zeros(slots, dtype=torch.int32, device=device)

    def reserve(self, slots: I32) -> None:
        """Have room for these slots; ~v stands for slot v."""
        largest = int(max(slots.max(initial=0), -1 - int(slots.min(initial=0))))
        if largest >= self.tokens.numel():
            grown = self.tokens.new_zeros(2 * largest + 2)
            grown[: self.tokens.numel()] = self.tokens
            self.tokens = grown

    def resolve(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens [T] with every ~v replaced by what slot v sampled last."""
        last = self.tokens.index_select(0, (-1 - tokens).clamp_(min=0))
        return torch.where(tokens < 0, last, tokens)

    def write(self, slots: torch.Tensor, ids: torch.Tensor) -> None:
        """Keep ids [n] i32 in slots [n]; -1 is none, and goes to scrap."""
        self.tokens.index_copy_(0, slots.clamp(min=0).long(), ids)
