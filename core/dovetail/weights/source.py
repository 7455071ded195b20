"""The numbers of a graph's weights, read from a checkpoint in the forms that the graph asks for."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dovetail.errors import CheckpointError
from dovetail.graph import Graph, Weight, WeightForm

from .checkpoint import Checkpoint
from .forms import STORED
from .progress import Progress
from .quantise import BLOCK_ELEMENTS, F32Array, NotFinite, Planes, quantise
from .quantised import QuantisedWeights
from .safetensors import DTYPES, Tensors, open_tensors
from .weight_cache import WeightCache

log = logging.getLogger("dovetail.weights")

NUMPY = {"f32": DTYPES["F32"], "f16": DTYPES["F16"], "bf16": DTYPES["BF16"]}
# Tensors that checkpoints carry and no graph needs: computed from the configuration, or a copy of a tied weight.
_EXPECTED_UNUSED = (
    ".inv_freq",
    ".masked_bias",
    "lm_head.weight",
    "position_ids",
    "pooler.dense.weight",
    "pooler.dense.bias",
)
_MOST_NAMED = 5


def open_source(
    graph: Graph,
    checkpoint: Checkpoint,
    *,
    cache: WeightCache | None = None,
    progress: bool | None = None,
) -> CheckpointSource:
    """Check that the checkpoint has every weight of the graph in its shape, and open it for reading.

    cache     where quantised weights are kept between starts
    progress  show how much has been read; None shows it on a terminal only

    Raises CheckpointError that names the missing tensors, or the file, the tensor and both shapes.
    """
    tensors = open_tensors(checkpoint.directory, checkpoint.folders)
    _check_missing(graph, tensors, checkpoint)
    for weight in graph.weights.values():
        _check_weight(weight, tensors)
    source = CheckpointSource(graph, tensors, cache=cache, progress=progress)
    _warn_unused(source)
    return source


class CheckpointSource:
    """Reads, joins, converts and quantises weights: a WeightSource of the contract (platform.py).

    What is stored as it is wanted comes as a view of the file. Dense conversions are made anew for the rows of each
    read. Quantised weights are computed once, or mapped from the cache, and kept as long as the source lives.
    """

    def __init__(
        self,
        graph: Graph,
        tensors: Tensors,
        *,
        cache: WeightCache | None = None,
        progress: bool | None = None,
    ) -> None:
        self._weights = graph.weights
        self._tensors = tensors
        quantised = [w for w in graph.weights.values() if w.form.kind != "dense"]
        self._quantised = QuantisedWeights(
            quantised, self._quantise, tensors.files, cache, tensors.scatter
        )
        total = sum(data_bytes(weight) for weight in graph.weights.values())
        self._progress = Progress("loading weights", total, show=progress)

    @property
    def unused(self) -> tuple[str, ...]:
        """Tensors of the checkpoint that no weight is made of."""
        used = {part for weight in self._weights.values() for part in weight.parts}
        return tuple(sorted(set(self._tensors) - used))

    def spec(self, name: str) -> Weight:
        return self._weights[name]

    def planes(self, name: str) -> tuple[str, ...]:
        return planes_of(self._weights[name].form)

    def read(
        self, name: str, plane: str = "data", rows: slice = slice(None)
    ) -> NDArray[np.generic]:
        weight = self._weights[name]
        if plane not in planes_of(weight.form):
            raise KeyError(f"{name} in form {weight.form} has no plane {plane!r}")
        if weight.form.kind == "dense":
            data = self._dense(weight, rows)
        else:
            data = self._quantised.planes(name)[plane][rows]
        if plane == "data":
            self._progress.advance(data.nbytes)
        return _read_only(data)

    def close(self) -> None:
        """Take the progress bar off and every page out of memory that a file has. Arrays that were read stay valid."""
        self._progress.close()
        self._quantised.close()
        self._tensors.forget()

    def _dense(self, weight: Weight, rows: slice) -> NDArray[np.generic]:
        """Rows of a dense weight in the dtype of its form."""
        dtype = NUMPY[weight.form.dtype]
        pieces = list(self._pieces(weight, rows))
        if len(pieces) == 1:
            (piece,) = pieces
            if piece.dtype == dtype and piece.flags.aligned:
                return piece
        start, stop, _ = rows.indices(weight.shape[0])
        out = np.empty((max(0, stop - start), *weight.shape[1:]), dtype)
        done = 0
        for piece in pieces:
            _convert(piece, out[done : done + len(piece)], weight)
            done += len(piece)
        return out

    def _pieces(self, weight: Weight, rows: slice) -> Iterator[NDArray[np.generic]]:
        """Views of the parts' rows that make up some rows of a weight, in order."""
        start, stop, step = rows.indices(weight.shape[0])
        if step != 1:
            raise ValueError(f"{weight.name}: rows are read with step 1, not {step}")
        if len(weight.parts) == 1:
            yield self._tensors.view(weight.parts[0])[start:stop]
            return
        first = 0
        for part in weight.parts:
            length = self._tensors[part].shape[0]
            low, high = max(start - first, 0), min(stop - first, length)
            if low < high:
                yield self._tensors.view(part)[low:high]
            first += length

    def _quantise(self, weight: Weight) -> Planes:
        outputs, inputs = weight.shape

        def read(rows: slice) -> F32Array:
            block = np.empty((rows.stop - rows.start, inputs), np.float32)
            done = 0
            for piece in self._pieces(weight, rows):
                np.copyto(block[done : done + len(piece)], piece, casting="unsafe")
                done += len(piece)
            return block

        try:
            return quantise(read, (outputs, inputs), weight.form)
        except NotFinite as error:
            raise CheckpointError(
                f"{self._where(weight)}: {error}, so it cannot be quantised to {weight.form}"
            ) from None
        finally:
            self._tensors.forget(*weight.parts)

    def _where(self, weight: Weight) -> str:
        return f"{self._tensors[weight.parts[0]].file}: tensor {' + '.join(weight.parts)}"


def planes_of(form: WeightForm) -> tuple[str, ...]:
    """Names of a form's planes."""
    planes = {"dense": 1, "int8_channel": 2, "fp8_channel": 2, "int4_group": 3}
    return ("data", "scale", "zero")[: planes[form.kind]]


def data_bytes(weight: Weight) -> int:
    """Bytes of a weight's data plane."""
    count = math.prod(weight.shape)
    if weight.form.kind == "dense":
        return count * NUMPY[weight.form.dtype].itemsize
    return count // 2 if weight.form.kind == "int4_group" else count


def weight_bytes(weight: Weight) -> int:
    """Bytes of all planes of a weight."""
    count = data_bytes(weight)
    if weight.form.kind in ("int8_channel", "fp8_channel"):
        return count + weight.shape[0] * np.dtype(np.float32).itemsize
    if weight.form.kind == "int4_group":
        groups = math.prod(weight.shape) // weight.form.group
        return count + groups * (np.dtype(np.float32).itemsize + 1)
    return count


def _convert(piece: NDArray[Any], out: NDArray[Any], weight: Weight) -> None:
    """Copy into another dtype. A finite number that becomes infinite in f16 is refused, not passed on."""
    with np.errstate(over="ignore", invalid="ignore"):
        np.copyto(out, piece, casting="unsafe")
    if weight.form.dtype != "f16" or piece.dtype == out.dtype:
        return
    step = max(1, BLOCK_ELEMENTS // max(1, math.prod(out.shape[1:])))
    for start in range(0, len(out), step):
        infinite = np.isinf(out[start : start + step])
        if infinite.any() and np.isfinite(piece[start : start + step][infinite]).any():
            raise CheckpointError(
                f"{weight.name} holds numbers beyond 65504, the largest f16; "
                "use --dtype bf16 or f32"
            )


def _read_only(data: NDArray[np.generic]) -> NDArray[np.generic]:
    view = data.view()
    view.flags.writeable = False
    return view


def _check_missing(graph: Graph, tensors: Tensors, checkpoint: Checkpoint) -> None:
    """All missing tensors at once, a few of them by name."""
    parts = dict.fromkeys(part for weight in graph.weights.values() for part in weight.parts)
    missing = [part for part in parts if part not in tensors]
    if not missing:
        return
    named = ", ".join(missing[:_MOST_NAMED])
    more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
    method = checkpoint.config.get("quantization_config")
    if isinstance(method, dict):
        hint = (
            f"; it is quantised already ({method.get('quant_method', 'unknown method')}), which is not "
            "read: use the model's unquantised checkpoint, and --quantization to quantise at load"
        )
    else:
        hint = f"; it has {len(tensors)} tensors, such as {next(iter(tensors), 'none')}"
    raise CheckpointError(
        f"{tensors.directory} lacks {len(missing)} of the {len(parts)} tensors of {graph.name}: "
        f"{named}{more}{hint}"
    )


def _check_weight(weight: Weight, tensors: Tensors) -> None:
    """Dtype of every part; shape of a single part, or of parts whose rows are joined."""
    for part in weight.parts:
        tensor = tensors[part]
        where = f"{tensor.file}: tensor {part}"
        if tensor.dtype not in STORED:
            raise CheckpointError(
                f"{where} is stored as {tensor.dtype}; weights are read from {', '.join(STORED)}"
            )
        joined = len(weight.parts) > 1 and len(tensor.shape) == len(weight.shape)
        expected = weight.shape[1:] if joined else weight.shape
        if (tensor.shape[1:] if joined else tensor.shape) != expected:
            raise CheckpointError(
                f"{where} has shape {list(tensor.shape)}; the configuration asks for "
                f"{['*', *expected] if joined else list(expected)}"
            )
    if len(weight.parts) < 2:
        return
    rows = sum(tensors[part].shape[0] for part in weight.parts)
    if rows != weight.shape[0]:
        raise CheckpointError(
            f"{tensors.directory}: tensors {', '.join(weight.parts)} have {rows} rows together; "
            f"the configuration asks for {list(weight.shape)}"
        )


def _warn_unused(source: CheckpointSource) -> None:
    """Tensors nobody reads may be a part of the model that its configuration forgot."""
    names = [name for name in source.unused if not name.endswith(_EXPECTED_UNUSED)]
    if names:
        log.warning("unused tensors count=%d first=%s", len(names), names[0])
