"""Memory-mapped safetensors, one file or many shards.

The format: eight bytes of header length n (little-endian), n bytes of JSON that give each tensor's dtype, shape and
byte range, then the bytes, end to end without holes. Nothing of a file is trusted: a header is read only as far as
the file goes, and every byte range is checked before it is mapped. Source: the format description of the
safetensors project (Apache-2.0).
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from dovetail.errors import CheckpointError

from .json_file import parse_object, read_object
from .mapping import FileMap

MAX_HEADER_BYTES = 100_000_000
MAX_AXES = 16
MAX_NUMBERS = 1 << 56

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"

DTYPES: Mapping[str, np.dtype[Any]] = {
    name: np.dtype(kind)
    for name, kind in {
        "F64": "<f8",
        "F32": "<f4",
        "F16": "<f2",
        "BF16": ml_dtypes.bfloat16,
        "F8_E4M3": ml_dtypes.float8_e4m3fn,
        "F8_E5M2": ml_dtypes.float8_e5m2,
        "I64": "<i8",
        "I32": "<i4",
        "I16": "<i2",
        "I8": "i1",
        "U64": "<u8",
        "U32": "<u4",
        "U16": "<u2",
        "U8": "u1",
        "BOOL": "?",
    }.items()
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where a tensor's bytes are: file[offset : offset + its bytes]."""

    name: str
    file: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * DTYPES[self.dtype].itemsize


class Tensors(Mapping[str, Tensor]):
    """All tensors of a checkpoint by name; `view` maps one. Safe to use from several threads."""

    def __init__(
        self, directory: Path, tensors: Mapping[str, Tensor], maps: Mapping[Path, FileMap]
    ) -> None:
        self.directory = directory
        self._tensors = dict(tensors)
        self._maps = dict(maps)

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def with_folders(self, folders: Iterable[str]) -> Tensors:
        """These and those of folders below the directory."""
        tensors, maps = dict(self._tensors), dict(self._maps)
        for folder in folders:
            path = self.directory / folder / SINGLE
            found, maps[path] = open_file(path)
            tensors |= {f"{folder}.{name}": tensor for name, tensor in found.items()}
        return Tensors(self.directory, tensors, maps)

    def view(self, name: str) -> NDArray[np.generic]:
        """The tensor as a read-only view of the mapped file; not aligned where the file is not."""
        tensor = self._tensors[name]
        data = self._maps[tensor.file].data[tensor.offset : tensor.offset + tensor.num_bytes]
        return data.view(DTYPES[tensor.dtype]).reshape(tensor.shape)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that hold them."""
        return tuple(self._maps)

    def scatter(self) -> None:
        """Few of them will be read, and small ones."""
        for mapped in self._maps.values():
            mapped.scatter()

    def forget(self, *names: str) -> None:
        """Take the pages of these tensors out of memory, of all if none is named; views of them stay good."""
        for name in names:
            tensor = self._tensors[name]
            end = tensor.offset + tensor.num_bytes
            self._maps[tensor.file].forget(tensor.offset, end)
        for mapped in () if names else self._maps.values():
            mapped.forget()


def open_tensors(directory: Path, folders: Iterable[str] = ()) -> Tensors:
    """The tensors of a model's directory: model.safetensors, or what its index names, or every *.safetensors.

    folders  below it, of modules whose model.safetensors is read too; "folder." goes before the names
    """
    if (directory / SINGLE).exists() or not (directory / INDEX).exists():
        model = _from_files(directory)
    else:
        model = _from_index(directory)
    return model.with_folders(folders)


def open_file(path: Path) -> tuple[dict[str, Tensor], FileMap]:
    """Read and check one file's header; its tensors, and the whole file mapped read-only."""
    try:
        if not path.is_file():
            raise CheckpointError(f"{path} is missing or no regular file")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            header, start = _read_header(path, file.read(8), file, size)
            mapped = FileMap(file.fileno(), size)
    except OSError as error:
        raise CheckpointError(
            f"{_short(path)} cannot be read: {error.strerror or error}"
        ) from error
    return _check_header(path, header, start, size), mapped


def _read_header(path: Path, prefix: bytes, file: Any, size: int) -> tuple[Mapping[str, Any], int]:
    """The header's JSON object and where the tensors' bytes start."""
    if len(prefix) < 8:
        raise CheckpointError(f"{path} has {size} bytes; a safetensors file has at least 8")
    (length,) = struct.unpack("<Q", prefix)
    if length > size - 8:
        raise CheckpointError(
            f"{path} is cut short or is no safetensors file: its header claims {length} bytes, "
            f"the file has {size}; download it again"
        )
    if length > MAX_HEADER_BYTES:
        raise CheckpointError(
            f"{path} has a header of {length} bytes; at most {MAX_HEADER_BYTES} are read"
        )
    try:
        text = file.read(length).decode()
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path}: header is not UTF-8 at byte {error.start}") from None
    return parse_object(text, f"{path}: header"), 8 + length


def _check_header(
    path: Path, header: Mapping[str, Any], start: int, size: int
) -> dict[str, Tensor]:
    """Every entry in order of its bytes, without holes or overlaps, to the end of the file."""
    entries = [
        _entry(path, name, value) for name, value in header.items() if name != "__metadata__"
    ]
    entries.sort(key=lambda entry: entry[1:])
    tensors: dict[str, Tensor] = {}
    end = 0
    for tensor, begin, stop in entries:
        if begin != end:
            what = "overlaps the tensor before it" if begin < end else "leaves a hole before it"
            raise CheckpointError(
                f"{path}: tensor {_quote(tensor.name)} starts at offset {begin}, where {end} is due: it {what}"
            )
        if stop > size - start:
            raise CheckpointError(
                f"{path} is cut short: tensor {_quote(tensor.name)} ends at offset {stop}, the file's data "
                f"at {size - start}; download it again"
            )
        tensors[tensor.name] = Tensor(
            tensor.name, path, tensor.dtype, tensor.shape, start + tensor.offset
        )
        end = stop
    if end != size - start:
        raise CheckpointError(
            f"{path}: tensors end at offset {end}, the file's data at {size - start}"
        )
    return tensors


def _entry(path: Path, name: str, value: Any) -> tuple[Tensor, int, int]:
    """One header entry as (tensor, begin, end), offsets counted from the end of the header."""
    where = f"{path}: tensor {_quote(name)}"
    if not isinstance(value, dict) or not {"dtype", "shape", "data_offsets"} <= value.keys():
        raise CheckpointError(f"{where} needs dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise CheckpointError(f"{where} has dtype {_quote(dtype)}; known are {', '.join(DTYPES)}")
    if not _counts(shape) or len(shape) > MAX_AXES:
        raise CheckpointError(
            f"{where} has shape {_quote(shape)}; it must be a list of at most {MAX_AXES} lengths"
        )
    if not _counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise CheckpointError(
            f"{where} has data_offsets {_quote(offsets)}; they must be [begin, end]"
        )
    # Axes beside an axis of length 0 are in no byte count, and yet NumPy multiplies them.
    if math.prod(max(1, length) for length in shape) >= MAX_NUMBERS:
        raise CheckpointError(f"{where} has shape {_quote(shape)}, more than any file holds")
    tensor = Tensor(name, path, dtype, tuple(shape), offsets[0])
    if tensor.num_bytes != offsets[1] - offsets[0]:
        raise CheckpointError(
            f"{where} is {dtype} {list(shape)}, {tensor.num_bytes} bytes, but data_offsets "
            f"{offsets} span {offsets[1] - offsets[0]}"
        )
    return tensor, offsets[0], offsets[1]


def _counts(values: Any) -> bool:
    """Whether it is a list of integers that fit a file offset."""
    return isinstance(values, list) and all(
        type(value) is int and 0 <= value < 2**63 for value in values
    )


def _short(path: Path) -> Path:
    """A path whose last name, out of a file, is cut to a readable length."""
    return path if len(path.name) <= 120 else path.with_name(path.name[:117] + "...")


def _quote(value: Any) -> str:
    """A value out of a file for an error message, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."


def _from_files(directory: Path) -> Tensors:
    single = directory / SINGLE
    files = [single] if single.exists() else sorted(directory.glob("*.safetensors"))
    if not files:
        raise CheckpointError(f"{directory} has no *.safetensors")
    return _join(directory, dict.fromkeys(files))


def _from_index(directory: Path) -> Tensors:
    """The tensors an index names, each from the shard it names."""
    path = directory / INDEX
    weight_map = read_object(path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{path} has no weight_map of tensor names to files")
    wanted: dict[Path, list[str] | None] = {}
    for name, shard in weight_map.items():
        names = wanted.setdefault(directory / _shard_name(path, name, shard), [])
        assert names is not None
        names.append(name)
    return _join(directory, wanted)


def _shard_name(index: Path, name: str, shard: Any) -> str:
    """A plain file name: a shard is never outside the directory of its index."""
    plain = isinstance(shard, str) and shard.isprintable() and not set(shard) & set("/\\:")
    if not plain or not shard.endswith(".safetensors"):
        raise CheckpointError(
            f"{index} puts tensor {_quote(name)} into {_quote(shard)}; a shard must be a "
            "*.safetensors beside the index"
        )
    return str(shard)


def _join(directory: Path, wanted: Mapping[Path, list[str] | None]) -> Tensors:
    """Tensors of several files; None takes all of a file's."""
    tensors: dict[str, Tensor] = {}
    maps: dict[Path, FileMap] = {}
    for file, names in wanted.items():
        found, maps[file] = open_file(file)
        for name in found if names is None else names:
            if name not in found:
                raise CheckpointError(
                    f"{file} has no tensor {_quote(name)}, which {INDEX} puts there"
                )
            if name in tensors:
                raise CheckpointError(
                    f"tensor {_quote(name)} is in both {tensors[name].file.name} and {file.name}"
                )
            tensors[name] = found[name]
    return Tensors(directory, tensors, maps)
