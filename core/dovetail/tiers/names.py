"""A block's name: a digest over its tokens and all before them, the model, how its blocks are laid out, and the salt.

The name finds a block; its tokens and the name of the block before it are compared as well before it is used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NAME_BYTES = 32
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Record:
    """A block outside of the device.

    parent  name of the block before it, or of the root
    tokens  its own, a full block
    data    [bytes of the block over all cache groups]
    """

    name: bytes
    parent: bytes
    tokens: tuple[int, ...]
    data: Bytes


def root_identity(*parts: object) -> bytes:
    """A digest of everything that blocks depend on beside tokens and salt."""
    return hashlib.blake2b(repr(parts).encode(), digest_size=NAME_BYTES).digest()


def root_name(identity: bytes, namespace: Hashable) -> bytes:
    """The name that stands before a sequence's first block."""
    return hashlib.blake2b(
        repr(namespace).encode(), key=identity, digest_size=NAME_BYTES, person=b"root"
    ).digest()


def child_name(parent: bytes, tokens: Sequence[int]) -> bytes:
    """The name of the block with these tokens after the block `parent`."""
    return hashlib.blake2b(
        np.asarray(tokens, "<i4").tobytes(), key=parent, digest_size=NAME_BYTES, person=b"block"
    ).digest()
