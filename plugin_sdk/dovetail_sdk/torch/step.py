"""Where the tokens of a step are kept, as kernels on a torch device see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from dovetail_sdk.runner import Step

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class DeviceStep:
    """One step. The tensors are i32, on the device and the step's own.

    tokens, rows  T and R of the arrays, padding included
    most_new      no row has more new tokens; 1 in every step that is captured
    longest       no row has more context, the new tokens included
    starts        [R + 1]  row r owns tokens starts[r]:starts[r + 1]
    past          [R]      tokens of the row already in the cache
    tables        per cache group [R, M]; rows may lie further apart than M
    slots         [R]
    host          the same on the host, exact; None where the step is captured: its numbers change from run to run
    upload        an array of the host on the device, without waiting; only where `host` is there

    Padded rows have one token, nothing in the cache and block 0: they write to and read from scrap.
    """

    tokens: int
    rows: int
    most_new: int
    longest: int
    starts: torch.Tensor
    past: torch.Tensor
    tables: tuple[torch.Tensor, ...]
    slots: torch.Tensor
    block_size: int
    host: Step | None
    upload: Callable[[NDArray[Any]], torch.Tensor]
    _made: dict[object, Any] = field(default_factory=dict, repr=False, compare=False)

    def once(self, key: object, make: Callable[[], A]) -> A:
        """What `make` returns, made at the first call with this key: plans that all layers of a step share.

        In a captured step `make` runs while it is captured, so that its work is part of every run.
        """
        if key not in self._made:
            self._made[key] = make()
        made: A = self._made[key]
        return made

    def row_of(self) -> torch.Tensor:
        """The row of each token, [T] i32."""
        return self.once("rows", self._rows)

    def places(self, group: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Block and offset of each token in a cache group, [T] i32 each."""
        return self.once(("places", group), lambda: self._places(group))

    def _rows(self) -> torch.Tensor:
        if self.host is not None:
            lengths = np.diff(self.host.starts)
            return self.upload(np.repeat(np.arange(lengths.size, dtype=np.int32), lengths))
        return torch.arange(self.rows, dtype=torch.int32, device=self.past.device)

    def _places(self, group: int) -> tuple[torch.Tensor, torch.Tensor]:
        if self.host is not None:
            both = self.upload(np.stack(self.host.places(group)).astype(np.int32))
            return both[0], both[1]
        place = self.past  # of the one token that each row has
        columns = (place // self.block_size).long()[:, None]
        blocks = self.tables[group].gather(1, columns)[:, 0]
        return blocks, place % self.block_size
