"""One block in one file: what it is, a checksum, its bytes.

    offset  bytes
    0       8      MAGIC, the format's revision in its last byte
    8       32     name
    40      32     name of the block before it
    72      16     blake2b of everything after this field, with the two names as its key
    88      4      number of tokens T, little-endian
    92      8      bytes of data D
    100     4 T    tokens, i32
    100+4T  D      data

Nothing in it is trusted before the lengths add up to the file's and the checksum is right.
"""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path

import numpy as np

from .names import NAME_BYTES, Bytes, Record

MAGIC = b"DVTLKV\x00\x01"
_HEAD = struct.Struct(f"<8s{NAME_BYTES}s{NAME_BYTES}s16s")
_LENGTHS = struct.Struct("<IQ")
HEADER_BYTES = _HEAD.size + _LENGTHS.size
MOST_TOKENS = 1 << 16


class BadBlock(Exception):
    """The file does not hold what it should; the text says why."""


def file_bytes(num_tokens: int, data_bytes: int) -> int:
    """The size of a block's file."""
    return HEADER_BYTES + 4 * num_tokens + data_bytes


def write_block(path: Path, record: Record) -> None:
    """Write a new file. Raises OSError."""
    tokens = np.asarray(record.tokens, "<i4").tobytes()
    lengths = _LENGTHS.pack(len(record.tokens), record.data.nbytes)
    data = record.data.data
    checksum = _checksum(record.name, record.parent, (lengths, tokens, data))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        head = _HEAD.pack(MAGIC, record.name, record.parent, checksum) + lengths + tokens
        for part in (memoryview(head), data):
            while part:
                part = part[file.write(part) :]


def read_block(path: Path, name: bytes, data_bytes: int) -> Record:
    """Read and check a file that should hold the block `name`. Raises BadBlock or OSError."""
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if not HEADER_BYTES <= size <= file_bytes(MOST_TOKENS, data_bytes):
            raise BadBlock(f"it has {size} bytes")
        content = np.empty(size, np.uint8)
        view, read = content.data, 0
        while read < size:
            count = file.readinto(view[read:])
            if not count:
                raise BadBlock("it ends early")
            read += count
    return _parsed(content, name, data_bytes)


def _parsed(content: Bytes, name: bytes, data_bytes: int) -> Record:
    view = content.data
    magic, found, parent, checksum = _HEAD.unpack_from(view)
    num_tokens, length = _LENGTHS.unpack_from(view, _HEAD.size)
    if magic != MAGIC:
        raise BadBlock("it is not a block file of this version")
    if found != name:
        raise BadBlock("it holds another block")
    if length != data_bytes or file_bytes(num_tokens, length) != len(view):
        raise BadBlock(f"its lengths ({num_tokens} tokens, {length} bytes) are not the file's")
    if _checksum(name, parent, (view[_HEAD.size :],)) != checksum:
        raise BadBlock("its checksum is wrong")
    start = HEADER_BYTES + 4 * num_tokens
    tokens = np.frombuffer(view[HEADER_BYTES:start], "<i4")
    return Record(name, parent, tuple(tokens.tolist()), content[start:])


def _checksum(name: bytes, parent: bytes, parts: tuple[bytes | memoryview, ...]) -> bytes:
    digest = hashlib.blake2b(key=name + parent, digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.digest()
