"""Where blocks go that the device has no room for: host memory, then disk; and how they come back.

names.py      which tokens a block holds, and after which others, in 32 bytes
host.py       blocks in host memory
block_file.py one block in one file
disk.py       a directory of them, within a size, across restarts
courier.py    the thread that reads and writes the disk
tiers.py      what the cache asks, and what the engine moves before each step
"""

from .disk import DiskTier, open_disk
from .host import HostTier
from .names import root_identity
from .tiers import Loading, Tiers, TierStats

__all__ = [
    "DiskTier",
    "HostTier",
    "Loading",
    "TierStats",
    "Tiers",
    "open_disk",
    "root_identity",
]
