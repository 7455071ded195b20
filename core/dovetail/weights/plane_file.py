"""Planes of quantised weights in one safetensors file: where each lies, written as they are made, checked before use.

Every plane starts at a multiple of 64 bytes, filled up by tensors named "pad.N" (the format has no holes), so that
kernels can read it in place. The last tensor, "sums", holds a 64-bit digest of each plane. What the file has to look like
follows from the weights alone: header and size must be exactly that, and the planes must have their digests.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dovetail.graph import Weight

from .mapping import FileMap, fetch_ahead
from .quantise import Planes, empty_planes

ALIGNMENT = 64
HEADER_MULTIPLE = 4096
CHUNK_WORDS = 512
VERIFYING_THREADS = 4
NAMES = {
    "int8": "I8",
    "uint8": "U8",
    "float8_e4m3fn": "F8_E4M3",
    "float32": "F32",
    "uint64": "U64",
}


class Damaged(ValueError):
    """A file of planes that must not be used; says why."""


@dataclass(frozen=True, slots=True)
class Place:
    """One plane: bytes [offset, offset + its size) of the file."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class Layout:
    """Where the planes of these weights lie in a file that is called by a key.

    places  (weight, plane) -> Place, in the order of the file
    """

    def __init__(self, key: str, weights: Sequence[Weight]) -> None:
        self.key = key
        tensors: dict[str, Place] = {}
        relative: dict[tuple[str, str], str] = {}
        end = 0
        for weight in weights:
            for plane, shape, dtype in _shapes(weight):
                if gap := -end % ALIGNMENT:
                    tensors[f"pad.{len(tensors)}"] = Place(end, (gap,), np.dtype(np.uint8))
                    end += gap
                name = f"{weight.name}.{plane}"
                tensors[name] = Place(end, shape, dtype)
                relative[weight.name, plane] = name
                end += tensors[name].num_bytes
        if gap := -end % ALIGNMENT:
            tensors[f"pad.{len(tensors)}"] = Place(end, (gap,), np.dtype(np.uint8))
            end += gap
        tensors["sums"] = Place(end, (len(relative),), np.dtype("<u8"))
        self.header = _header(key, tensors)
        start = len(self.header)
        self.places = {
            pair: Place(start + tensors[name].offset, tensors[name].shape, tensors[name].dtype)
            for pair, name in relative.items()
        }
        self.sums_at = start + end
        self.size = self.sums_at + tensors["sums"].num_bytes

    @cached_property
    def data_bytes(self) -> int:
        """Of all planes."""
        return sum(place.num_bytes for place in self.places.values())

    def planes(self, name: str, data: NDArray[np.uint8]) -> Planes:
        """A weight's planes as views of the file's bytes."""
        return {
            plane: data[place.offset : place.offset + place.num_bytes]
            .view(place.dtype)
            .reshape(place.shape)
            for (weight, plane), place in self.places.items()
            if weight == name
        }


def _shapes(weight: Weight) -> list[tuple[str, tuple[int, ...], np.dtype[Any]]]:
    outputs, inputs = weight.shape
    return [
        (name, plane.shape, plane.dtype)
        for name, plane in empty_planes((outputs, inputs), weight.form).items()
    ]


def _header(key: str, tensors: dict[str, Place]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": {"format": "dovetail planes", "key": key}}
    for name, place in tensors.items():
        entries[name] = {
            "dtype": NAMES[place.dtype.name],
            "shape": list(place.shape),
            "data_offsets": [place.offset, place.offset + place.num_bytes],
        }
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % HEADER_MULTIPLE)
    return len(text).to_bytes(8, "little") + text


def sum_of(plane: NDArray[Any]) -> int:
    """A digest of 64 bits that every flipped bit, zeroed page and swapped page shows in.

    Sums of 512 words, hashed: as fast as memory is read, and without Python's lock.
    """
    flat = np.ascontiguousarray(plane).reshape(-1).view(np.uint8)
    whole = len(flat) // (8 * CHUNK_WORDS) * (8 * CHUNK_WORDS)
    digest = hashlib.blake2b(digest_size=8)
    words = flat[:whole].view("<u8") if flat.ctypes.data % 8 == 0 else None
    if words is None:
        words = flat[:whole].copy().view("<u8")
    digest.update(np.add.reduce(words.reshape(-1, CHUNK_WORDS), axis=1).data)
    digest.update(flat[whole:].data)
    return int.from_bytes(digest.digest(), "little")


def open_planes(path: Path, layout: Layout) -> FileMap:
    """The file, mapped, once all of it was seen to be what was written.

    Raises FileNotFoundError, other OSErrors, and Damaged.
    """
    file = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    try:
        size = os.fstat(file).st_size
        if size != layout.size:
            raise Damaged(f"it has {size} bytes and should have {layout.size}")
        mapped = FileMap(file, size)
        fetch_ahead(file, size)
    finally:
        os.close(file)
    data = mapped.data
    if data[: len(layout.header)].tobytes() != layout.header:
        raise Damaged("its header is not the one that was written")
    sums = data[layout.sums_at :].view("<u8")
    places = list(layout.places.items())

    def right(number: int) -> bool:
        place = places[number][1]
        found = sum_of(data[place.offset : place.offset + place.num_bytes])
        return found == int(sums[number])

    with ThreadPoolExecutor(min(VERIFYING_THREADS, os.cpu_count() or 1)) as pool:
        for number, good in enumerate(pool.map(right, range(len(places)))):
            if not good:
                raise Damaged(f"plane {'.'.join(places[number][0])} is not what was written")
    return mapped


class PlaneWriter:
    """A file in the making, under a temporary name in the directory of the finished one.

    A plane that was put can be read from the file at once. Several threads may put at a time, each its own weights.
    """

    def __init__(self, path: Path, layout: Layout) -> None:
        """Raises OSError."""
        self._path = path
        self._layout = layout
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        # Closed with the last reference: a thread may still write when another gives up.
        self._file = os.fdopen(os.open(self._temporary, flags, 0o600), "r+b", buffering=0)
        self._sums = dict.fromkeys(layout.places, 0)
        try:
            os.ftruncate(self._file.fileno(), layout.size)
            self.mapped = FileMap(self._file.fileno(), layout.size)
        except OSError:
            self.abandon()
            raise

    def put(self, name: str, planes: Planes) -> Planes:
        """Write a weight's planes; the same, read from the file. Raises OSError, as when the disk is full."""
        for plane, array in planes.items():
            place = self._layout.places[name, plane]
            self._write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, place.offset)
            self._sums[name, plane] = sum_of(array)
        return self._layout.planes(name, self.mapped.data)

    def finish(self) -> None:
        """Give the file, whose planes are all there, its name. Raises OSError."""
        self._write(memoryview(self._layout.header), 0)
        sums = np.array(list(self._sums.values()), "<u8")
        self._write(sums.data.cast("B"), self._layout.sums_at)
        os.replace(self._temporary, self._path)

    def abandon(self) -> None:
        """Take the file away; what was read from it stays valid."""
        with contextlib.suppress(OSError):
            os.unlink(self._temporary)

    def _write(self, data: memoryview, offset: int) -> None:
        while data:
            count = os.pwrite(self._file.fileno(), data, offset)
            data, offset = data[count:], offset + count
