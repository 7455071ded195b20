"""Generations of the chip, as data: `chips.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from dovetail.errors import PlatformError

EMULATED = "emulated"


@dataclass(frozen=True, slots=True)
class AttentionBlocks:
    """query_tokens: new tokens of a row that are computed together; kv_tokens: cached tokens that are read at once."""

    query_tokens: int
    kv_tokens: int


@dataclass(frozen=True, slots=True)
class LinearBlocks:
    """Outputs and inputs of a weight that are multiplied at once."""

    outputs: int
    inputs: int


@dataclass(frozen=True, slots=True)
class Chip:
    """One generation; the fields are those that chips.toml explains."""

    name: str
    kind: tuple[str, ...]
    pci: str
    hbm_gib: int
    vmem_mib: int
    lanes: int
    sublanes: int
    tokens: tuple[int, ...]
    block_grain: int
    eager: str
    fused_sampling: bool
    attention: AttentionBlocks
    int8: LinearBlocks
    int4: LinearBlocks

    def rows_of_tile(self, itemsize: int) -> int:
        """Rows of a tile of numbers of so many bytes: a block's tokens are a multiple of it."""
        return self.sublanes * 4 // itemsize if self.sublanes > 1 else 1


@cache
def chips() -> Mapping[str, Chip]:
    """Every generation by name."""
    text = resources.files(__package__).joinpath("chips.toml").read_text()
    found = {}
    for name, row in tomllib.loads(text).items():
        row["kind"], row["tokens"] = tuple(row["kind"]), tuple(row["tokens"])
        row["attention"] = AttentionBlocks(**row["attention"])
        row["int8"], row["int4"] = LinearBlocks(**row["int8"]), LinearBlocks(**row["int4"])
        found[name] = Chip(name=name, **row)
    return found


def chip_of(kind: str) -> Chip:
    """The generation of a jax device kind. Raises PlatformError for one that is not known."""
    for chip in chips().values():
        if kind in chip.kind:
            return chip
    known = ", ".join(chip.kind[0] for chip in chips().values())
    raise PlatformError(f"the chip {kind!r} is not known here; known are {known}")
