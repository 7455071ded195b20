"""What a model will take and give on a device, before its weights are there.

Bytes are counted from the graph that would be loaded. Speed is measured: a model of a few of the real one's layers, with
random weights, is loaded on the device and run for about a second, and its times are scaled by the bytes that are
multiplied. So whatever the platform packs, fuses or quantises is in the numbers, and nothing here knows a platform.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dovetail import models
from dovetail.config import EngineConfig
from dovetail.errors import UnsupportedModel
from dovetail.graph import CacheGroup, Graph, passes, with_forms
from dovetail.options import given_options
from dovetail.platform import I32, Batch, CacheForm, Device, KVLayout, Program, Shape
from dovetail.plugins import Selection, choices, open_first
from dovetail.weights.checkpoint import Checkpoint
from dovetail.weights.forms import Forms, choose_forms
from dovetail.weights.naming import fit_names
from dovetail.weights.random_source import random_weights
from dovetail.weights.safetensors import open_tensors
from dovetail.weights.source import weight_bytes

from .load import cache_form, compute_dtype
from .sizing import Limits, choose_limits, choose_sizes

SAMPLE_BYTES = 192 << 20
"""Multiplied by the model that is measured: more than caches hold, little enough for a second."""
CONTEXT, ROWS = 256, 32
LENGTHS = (1024, 4096, 16384, 65536)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How many sequences of a length fit at once, and what keeps more from fitting."""

    tokens: int
    sequences: int
    limit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Tokens per second to expect, and what they rest on.

    single, batch   decoding: one sequence, and `rows` at once, after a context of 256 tokens
    prompt          tokens of prompts
    bandwidth       bytes of weights per second that the single stream reads
    operations      multiplications and additions per second in prompts
    single_limit, batch_limit  "bandwidth" or "compute"
    """

    single: float
    rows: int
    batch: float
    prompt: float
    bandwidth: float
    operations: float
    single_limit: str
    batch_limit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Bytes, sequences and rates of a model on a device.

    weight_bytes     of the weights in the forms they are given to the platform in
    token_bytes      of cache, per token
    workspace_bytes  of a step, and of what the platform packs anew
    cache_bytes      there is room for, at most what is wanted
    """

    model: str
    platform: str
    device: str
    dtype: str
    weights: str
    cache_form: str
    max_model_len: int
    max_num_seqs: int
    weight_bytes: int
    block_bytes: int
    block_size: int
    token_bytes: float
    workspace_bytes: int
    free_bytes: int
    cache_bytes: int
    fits: tuple[Fit, ...]
    rates: Rates
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Cut:
    """A model's graph as the device would get it, with its weights' forms."""

    graph: Graph
    forms: Forms

    @property
    def multiplied(self) -> int:
        """Bytes of the matrices that every step multiplies by."""
        names = {node.weights["weight"] for node in self.graph.nodes if node.op == "linear"}
        return sum(weight_bytes(self.graph.weights[name]) for name in names)

    @property
    def products(self) -> int:
        """Numbers in those matrices."""
        nodes = [node for node in self.graph.nodes if node.op == "linear"]
        shapes = [self.graph.weights[node.weights["weight"]].shape for node in nodes]
        return sum(int(np.prod(shape)) for shape in shapes)


def plan(
    config: EngineConfig, name: str, values: Mapping[str, Any], checkpoint: Checkpoint | None
) -> Plan:
    """Count, measure and say what binds.

    values      the model's config.json
    checkpoint  its files where the weights are here; None takes the dtype that config.json names

    Raises ConfigError, PlatformError, CheckpointError.
    """
    offers = choices(
        config.platform, timeout_s=config.probe_timeout_s, members=config.tensor_parallel_size
    )
    selection, device = open_first(offers, given_options(config))
    try:
        return _plan(config, name, values, checkpoint, selection, device)
    finally:
        device.close()


def _plan(
    config: EngineConfig,
    name: str,
    values: Mapping[str, Any],
    checkpoint: Checkpoint | None,
    selection: Selection,
    device: Device,
) -> Plan:
    facts, can = models.facts(values), device.capabilities
    dtype = compute_dtype(config.dtype, facts.dtype, can, str(selection))
    form = cache_form(config.kv_cache_dtype, dtype, can, str(selection))
    limits = choose_limits(config, context=facts.max_position, form=form, memory=device.memory())

    def cut(layers: int | None) -> _Cut:
        some = values if layers is None else _with_layers(values, layers)
        graph = models.build(some, dtype=dtype, max_model_len=limits.max_model_len)
        if checkpoint is not None:
            graph = fit_names(graph, open_tensors(checkpoint.directory, checkpoint.folders))
        forms = choose_forms(
            graph,
            checkpoint,
            quantization=config.quantization,
            accepted=can.weight_forms,
            compute_dtype=dtype,
        )
        ready = passes.prepare(
            with_forms(graph, forms.forms),
            ops=can.ops,
            fused=can.fused_ops,
            rewrites=can.rewrites,
            supports=device.supports,
            members=len(selection.devices),
        )
        return _Cut(ready.graph, forms)

    whole = cut(None)
    if not whole.graph.cache:
        raise UnsupportedModel(f"{name} keeps no cache; plan is for models that generate text")
    sample = _sample(whole, cut)
    free = device.memory()
    measured = _measure(device, sample.graph, form, limits)
    share = whole.multiplied / sample.multiplied
    block_bytes = _block_bytes(whole.graph, sample.graph, measured.block_bytes)
    workspace = measured.workspace + int(measured.packed * (share - 1))
    weights = sum(weight_bytes(weight) for weight in whole.graph.weights.values())
    left = replace(free, free=max(0, free.free - weights))
    sizes = choose_sizes(config, limits, block_bytes=block_bytes, workspace=workspace, memory=left)
    blocks = sizes.num_blocks - 1
    return Plan(
        model=name,
        platform=str(selection),
        device=", ".join(info.description for info in selection.devices),
        dtype=dtype,
        weights=whole.forms.describe(),
        cache_form=form.name,
        max_model_len=sizes.limits.max_model_len,
        max_num_seqs=limits.max_num_seqs,
        weight_bytes=weights,
        block_bytes=block_bytes,
        block_size=limits.block_size,
        token_bytes=block_bytes / limits.block_size,
        workspace_bytes=workspace,
        free_bytes=free.free,
        cache_bytes=blocks * block_bytes,
        fits=_fits(sizes.limits, blocks),
        rates=_rates(whole, measured, share),
        notes=(*whole.forms.notes, *sizes.notes),
    )


def _with_layers(values: Mapping[str, Any], layers: int) -> dict[str, Any]:
    """The configuration of the first layers alone."""
    fewer = {**values, "num_hidden_layers": layers}
    if isinstance(types := values.get("layer_types"), list):
        fewer["layer_types"] = types[:layers]
    return fewer


def _kinds(graph: Graph) -> set[tuple[int, int, int, int | None]]:
    return {_kind(group) for group in graph.cache}


def _kind(group: CacheGroup) -> tuple[int, int, int, int | None]:
    return group.kv_heads, group.key_width, group.value_width, group.window


def _sample(whole: _Cut, cut: Callable[[int | None], _Cut]) -> _Cut:
    """The fewest layers that multiply enough bytes and have every kind of cache."""
    total = sum(len(group.layers) for group in whole.graph.cache)
    layers = 1
    while layers < total:
        sample = cut(layers)
        if sample.multiplied >= SAMPLE_BYTES and _kinds(sample.graph) == _kinds(whole.graph):
            return sample
        layers *= 2
    return whole


def _block_bytes(whole: Graph, sample: Graph, found: tuple[int, ...]) -> int:
    """Of one block over all layers: what the sample's layers of each kind take, times the layers there are."""
    pairs = zip(sample.cache, found, strict=True)
    per_layer = {_kind(group): size // len(group.layers) for group, size in pairs}
    return sum(per_layer[_kind(group)] * len(group.layers) for group in whole.cache)


def _fits(limits: Limits, blocks: int) -> tuple[Fit, ...]:
    lengths = [n for n in LENGTHS if n < limits.max_model_len] + [limits.max_model_len]
    fits = []
    for tokens in lengths:
        room = blocks // -(-tokens // limits.block_size)
        limit = "memory" if room < limits.max_num_seqs else "--max-num-seqs"
        fits.append(Fit(tokens=tokens, sequences=min(room, limits.max_num_seqs), limit=limit))
    return tuple(fits)


# ------------------------------------------------------------------------------------------------------- measuring


@dataclass(frozen=True, slots=True)
class _Measured:
    """Of the sample: bytes, and seconds of a step of one row, of some rows, and of a piece of a prompt."""

    block_bytes: tuple[int, ...]
    workspace: int
    packed: int
    rows: int
    chunk: int
    prompt_s: float
    single_s: float
    batch_s: float


def _measure(device: Device, graph: Graph, form: CacheForm, limits: Limits) -> _Measured:
    rows, size = min(ROWS, limits.max_num_seqs), limits.block_size
    chunk = max(1, min(CONTEXT, limits.max_model_len - 1))
    shared = chunk // size
    shape = Shape(tokens=max(chunk, rows), rows=rows, outputs=rows, blocks=-(-chunk // size) + 1)
    model = device.load(graph, random_weights(graph))
    try:
        layout = KVLayout(size, form.name, graph.cache)
        largest = model.workspace(replace(shape, tokens=limits.max_num_batched_tokens))
        packed = model.workspace(shape)
        model.allocate(layout, (2 + shared + rows,) * len(graph.cache))
        program = model.compile(shape)
        prompt = np.arange(1, shape.blocks, dtype=np.int32)[None]
        # Decoding rows share the prompt's whole blocks and have one each for what is new.
        own = shared + 1 + np.arange(rows, dtype=np.int32)[:, None]
        tables = np.hstack([np.tile(prompt[:, :shared], (rows, 1)), own])
        return _Measured(
            model.block_bytes(layout),
            largest,
            max(0, packed - model.workspace(shape)),
            rows,
            chunk,
            prompt_s=_step_s(program, _batch(graph, prompt, 0, chunk), times=3),
            single_s=_step_s(program, _batch(graph, tables[:1], shared * size, 1), times=9),
            batch_s=_step_s(program, _batch(graph, tables, shared * size, 1), times=5),
        )
    finally:
        model.close()


def _step_s(program: Program, batch: Batch, *, times: int) -> float:
    """Median seconds of a step; the first one warms up."""
    taken = []
    for _ in range(1 + times):
        start = time.perf_counter()
        program.run(batch).wait()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])


def _batch(graph: Graph, table: I32, past: int, new: int) -> Batch:
    """Rows of `new` tokens after `past`, by the same table [R, M] in every cache group."""
    rows = len(table)
    starts = np.arange(0, rows * new + 1, new, dtype=np.int32)
    planes = int(graph.values["positions"].shape[0]) if _whole_planes(graph) else 1
    positions = np.tile(np.arange(past, past + new, dtype=np.int32), rows)
    return Batch(
        tokens=np.zeros(rows * new, np.int32),
        positions=np.tile(positions, (planes, 1)),
        row_starts=starts,
        slots=np.arange(1, rows + 1, dtype=np.int32),
        past=np.full(rows, past, np.int32),
        tables=(table,) * len(graph.cache),
        copies=(np.zeros((0, 2), np.int32),) * len(graph.cache),
        outputs=starts[1:] - 1,
    )


def _whole_planes(graph: Graph) -> bool:
    value = graph.values.get("positions")
    return value is not None and isinstance(value.shape[0], int)


def _rates(whole: _Cut, measured: _Measured, share: float) -> Rates:
    single, batch = measured.single_s * share, measured.batch_s * share
    prompt = measured.prompt_s * share / measured.chunk
    return Rates(
        single=1 / single,
        rows=measured.rows,
        batch=measured.rows / batch,
        prompt=1 / prompt,
        bandwidth=whole.multiplied / single,
        operations=2 * whole.products / prompt,
        single_limit="compute" if prompt > single / 2 else "bandwidth",
        batch_limit="compute" if measured.rows * prompt > single else "bandwidth",
    )
