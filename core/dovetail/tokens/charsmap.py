"""The character map of SentencePiece's normalisers: a trie over bytes, and the texts its leaves name.

    bytes 0 to 4   length of the trie in bytes, little-endian
    then           the trie, 32 bits a unit; the format of Darts-clone (BSD-2-Clause), a double array
    then           texts, each ended by a zero byte

Whoever walks it goes from unit to unit by exclusive or, without looking where the array ends; so this looks.
"""

from __future__ import annotations

import binascii
import struct

import numpy as np

LEAF = 1 << 31


def longest_text(encoded: str) -> int:
    """Bytes of the longest text in a map given in base64. Raises ValueError that says what is wrong with it."""
    try:
        data = binascii.a2b_base64(encoded, strict_mode=True)
    except ValueError as error:
        raise ValueError(f"it is not base64: {error}") from None
    if len(data) < 8:
        raise ValueError(f"it has {len(data)} bytes")
    (size,) = struct.unpack_from("<I", data)
    if size % 4 or not 0 < size <= len(data) - 4:
        raise ValueError(f"its trie claims {size} bytes of {len(data) - 4}")
    texts = np.frombuffer(data, np.uint8, offset=4 + size)
    _check_trie(np.frombuffer(data, "<u4", size // 4, 4).astype(np.int64), texts)
    try:
        data[4 + size :].decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"its texts are not UTF-8 at byte {error.start}") from None
    ends = np.flatnonzero(texts == 0)
    return int(np.diff(ends, prepend=-1, append=len(texts)).max()) - 1


def _check_trie(units: np.ndarray, texts: np.ndarray) -> None:
    """Raise ValueError if a walk could leave the array, or a leaf name what is no text."""
    places = np.flatnonzero(units < LEAF)
    inner = units[places]
    bases = places ^ ((inner >> 10) << ((inner & 0x200) >> 6))
    if (bases | 0xFF).max(initial=0) >= len(units):
        raise ValueError("its trie points beyond its end")
    named = units[bases[(inner & 0x100) != 0]] & (LEAF - 1)
    if named.max(initial=-1) >= len(texts):
        raise ValueError("its trie names a text beyond the last")
    if ((texts[named] & 0xC0) == 0x80).any():
        raise ValueError("its trie names a text within a character")
