"""What a graph costs on this platform, from its shapes alone, and the steps that warm it up."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from dovetail.graph import Graph, Value, Weight
from dovetail.platform import Batch, Shape

from .paged import BLOCK_SIZE

_F32_BYTES = 4
_VALUES_ALIVE = 4
"""Values of the widest kind that OpenVINO keeps at once; it reuses memory between layers."""
_KERNEL_BYTES = 64 << 20
"""Generated kernels and their scratch memory."""
_WARM_UP_TOKENS = 256


def embedding_rows(graph: Graph) -> int | None:
    """V of the embedding table, None for a graph without one."""
    for node in graph.nodes:
        if node.op == "embed":
            return graph.weights[node.weights["table"]].shape[0]
    return None


def packed_weight_bytes(graph: Graph) -> int:
    """The second copy that OpenVINO makes of matrices, in its own order, at the first step."""
    multiplied = {node.weights["weight"] for node in graph.nodes if node.op == "linear"}
    return sum(weight_bytes(graph.weights[name]) for name in multiplied)


def weight_bytes(weight: Weight) -> int:
    """Bytes of all planes of a weight."""
    count = int(np.prod(weight.shape))
    form = weight.form
    if form.kind == "int8_channel":
        return count + _F32_BYTES * weight.shape[0]
    if form.kind == "int4_group":
        return count // 2 + (_F32_BYTES + 1) * (count // form.group)
    return count * (_F32_BYTES if form.dtype == "f32" else 2)


def activation_bytes(graph: Graph, shape: Shape) -> int:
    """Values of a step, and the logits of two steps in flight."""
    lengths = {
        "T": shape.tokens,
        "N": shape.outputs,
        "R": shape.rows,
        "P": 1,
        "G": shape.rows + 1,
    }

    def size(value: Value) -> int:
        axes = (axis if isinstance(axis, int) else lengths[axis] for axis in value.shape)
        return int(np.prod(list(axes))) * _F32_BYTES

    results = set(graph.outputs.values())
    inner = [size(value) for name, value in graph.values.items() if name not in results]
    outputs = sum(size(graph.values[name]) for name in results)
    return _KERNEL_BYTES + _VALUES_ALIVE * max(inner, default=0) + 2 * outputs


def warm_up_batches(graph: Graph, shape: Shape) -> Iterator[Batch]:
    """A chunk of a prompt and two decode steps, all in the scrap block."""
    chunk = min(shape.tokens, _WARM_UP_TOKENS, positions_held(graph))
    yield scrap_batch(graph, rows=1, tokens=chunk, outputs=1)
    yield scrap_batch(graph, rows=1, tokens=1, outputs=1)
    rows = min(shape.rows, shape.tokens, shape.outputs)
    if graph.chunkable and rows > 1:
        yield scrap_batch(graph, rows=rows, tokens=1, outputs=rows)


def positions_held(graph: Graph) -> int:
    """Tokens of the longest row that the graph's tables of learned positions have room for."""
    held = [_WARM_UP_TOKENS]
    for node in graph.nodes:
        if node.op == "embed_positions":
            offset = node.attributes.get("offset")
            held.append(
                graph.weights[node.weights["table"]].shape[0]
                - (offset if isinstance(offset, int) else 0)
            )
    return max(1, min(held))


def scrap_batch(graph: Graph, *, rows: int, tokens: int, outputs: int) -> Batch:
    """Rows of the same number of tokens, all of whose blocks are scrap."""
    total = rows * tokens
    blocks = -(-tokens // BLOCK_SIZE)
    groups = len(graph.cache)
    return Batch(
        tokens=np.zeros(total, np.int32),
        positions=np.tile(np.arange(tokens, dtype=np.int32), rows).reshape(1, total),
        row_starts=np.arange(0, total + 1, tokens, dtype=np.int32),
        slots=np.zeros(rows, np.int32),
        past=np.zeros(rows, np.int32),
        tables=(np.zeros((rows, blocks), np.int32),) * groups,
        copies=(np.zeros((0, 2), np.int32),) * groups,
        outputs=np.arange(total - outputs, total, dtype=np.int32),
        token_types=np.zeros(total, np.int32),
    )
