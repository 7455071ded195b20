"""A model cut to a device, and what is said of it: shared by the loading of decoders and of encoders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dovetail import models
from dovetail.errors import OutOfMemory, UnsupportedOp
from dovetail.graph import Graph
from dovetail.platform import CacheForm, Capabilities, Device, Support
from dovetail.plugins import Selection
from dovetail.weights.checkpoint import Checkpoint

from .client import EngineInfo
from .sizing import Limits
from .tasks import TaskChoice

COLUMNS = ("token_types",)
"""Inputs of a graph that are optional columns of Batch."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A checkpoint's graph, cut to a device; no weights are read yet."""

    selection: Selection
    device: Device
    graph: Graph
    supports: tuple[Support, ...]
    form: CacheForm
    limits: Limits
    weights: str
    task: TaskChoice


def info_of(
    checkpoint: Checkpoint, prepared: Prepared, limits: Limits, *, num_blocks: int
) -> EngineInfo:
    """What the engine says of itself.

    num_blocks  usable ones
    """
    graph = prepared.graph
    pooled = graph.outputs.get("hidden") or graph.outputs.get("scores")
    return EngineInfo(
        model=checkpoint.name,
        platform=prepared.selection.platform.name,
        reason=prepared.selection.reason,
        device=", ".join(device.description for device in prepared.selection.devices),
        dtype=graph.dtype,
        weights=prepared.weights,
        cache_form=prepared.form.name if graph.cache else "none",
        vocab_size=models.facts(checkpoint.config).vocab_size,
        max_model_len=limits.max_model_len,
        max_num_seqs=limits.max_num_seqs,
        max_num_batched_tokens=limits.max_num_batched_tokens,
        block_size=limits.block_size,
        num_blocks=num_blocks,
        task=prepared.task.task,
        width=int(graph.values[pooled].shape[-1]) if pooled else 0,
        whole=prepared.task.whole,
        types="token_types" in graph.inputs,
    )


def check_columns(graph: Graph, can: Capabilities, device: str) -> None:
    """Raise UnsupportedOp where a device does not understand a column that the graph reads."""
    missing = [name for name in graph.inputs if name in COLUMNS and name not in can.columns]
    if missing:
        raise UnsupportedOp(
            f"{device} does not understand the column {', '.join(missing)}, which {graph.name} reads; use another "
            "platform or model"
        )


@contextmanager
def way_out(advice: str) -> Iterator[None]:
    """Let OutOfMemory say, beside what the device has no room for, which setting to change."""
    try:
        yield
    except OutOfMemory as error:
        raise OutOfMemory(f"{error}; {advice}") from error
