"""What changes at every step, as one int32 column per quantity and one row per slot.

A step of many sequences is then a handful of array operations. Objects are touched only where a block fills, and where
a sequence comes or goes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

I32 = NDArray[np.int32]
NEVER = 2**31 - 1


class Slots:
    """Columns by slot; slot 0 is scrap. Only rows of slots in use mean anything.

    planned     positions that are computed or in a step in flight: where its next row starts
    computed    positions whose keys and values are in the cache
    total       tokens, those included that a step in flight will sample
    known       tokens known on the host
    last_token  the last of them
    limit       nothing is planned for a sequence that has this many tokens
    draws       0 if no token is ever sampled: only its prompt is computed
    capacity    positions that its blocks have room for
    full_at     computed positions at which its next block is full and can be published
    last_step   the newest step that has a row of it
    late        1 if its row must wait until the token before is known
    unsampled   1 while such a row waits to be sampled
    table       [slots, M]  its blocks in order, 0 past their end
    """

    def __init__(self, num_slots: int, max_blocks: int, block_size: int) -> None:
        def column() -> I32:
            return np.zeros(num_slots + 1, np.int32)

        self.block_size = block_size
        self.planned = column()
        self.computed = column()
        self.total = column()
        self.known = column()
        self.last_token = column()
        self.limit = column()
        self.draws = column()
        self.capacity = column()
        self.full_at = column()
        self.last_step = column()
        self.late = column()
        self.unsampled = column()
        self.table = np.zeros((num_slots + 1, max_blocks), np.int32)
        self.free = list(range(num_slots, 0, -1))
