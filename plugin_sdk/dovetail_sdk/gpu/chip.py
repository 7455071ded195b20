"""A chip, as far as kernels are chosen by it."""

from __future__ import annotations

from dataclasses import dataclass

from .emulation import HOST, INTERPRETED


@dataclass(frozen=True, slots=True)
class Chip:
    """What a table of kernels is chosen for.

    architecture  as the tuning tables call it: "sm_90", "gfx942"; "emulated", or "host" for torch's own kernels alone
    library       the vendor's for dense products, for people: "cuBLAS"
    fp8           the 8-bit float that it converts itself: "e4m3fn" or "e4m3fnuz"; None: neither
    """

    architecture: str
    library: str
    fp8: str | None

    @property
    def stands_in(self) -> bool:
        """Whether it is no chip, but something on the host in the place of one."""
        return self.architecture in (HOST, INTERPRETED)
