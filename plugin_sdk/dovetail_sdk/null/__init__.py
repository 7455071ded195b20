"""The `null` platform: no arithmetic. The next token is a pure function of the sequence's own tokens.

What a model would keep as keys and values is a 64-bit digest per token, kept in real paged blocks, so that a wrong
block table, a stale block or a copy that was forgotten changes the tokens. `expected` says what the tokens should be.

Devices: "0" computes at once and is the floor that everything around a model is measured against; "ahead2" and
"ahead3" are the same with two or three steps in flight; "strict", "strict2" and "strict3" compute as late as the
contract allows, from the cache alone, and raise ValueError for anything an engine may not do.
"""

from .platform import NullPlatform
from .tokens import expected

__all__ = ["NullPlatform", "expected"]
