"""Tiny checkpoints on the CPU platform beside transformers: steps by hand, log-probabilities of both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from dovetail import models
from dovetail.graph import Graph, passes, with_forms
from dovetail.platform import Batch, Device, KVLayout, LoadedModel, Program, SamplingColumns, Shape
from dovetail.weights import choose_forms, open_checkpoint, open_source
from transformers import AutoModelForCausalLM

NUM_BLOCKS = 40
SHAPE = Shape(tokens=256, rows=8, outputs=256, blocks=8)

Row = tuple[Sequence[int], int, Sequence[int]]
"""New tokens of a row, tokens already in the cache, its blocks."""


def i32(numbers: object) -> np.ndarray:
    return np.asarray(numbers, np.int32)


def make_graph(
    device: Device, directory: Path, dtype: str = "f32", quantization: str | None = None
) -> Graph:
    """The checkpoint's graph as the engine would hand it to the device."""
    checkpoint = open_checkpoint(str(directory), progress=False)
    able = device.capabilities
    graph = models.build(checkpoint.config, dtype=dtype)
    chosen = choose_forms(
        graph,
        checkpoint,
        quantization=quantization,
        accepted=able.weight_forms,
        compute_dtype=dtype,
    )
    prepared = passes.prepare(
        with_forms(graph, chosen.forms),
        ops=able.ops,
        fused=able.fused_ops,
        rewrites=able.rewrites,
        supports=device.supports,
    )
    return prepared.graph


class Driver:
    """A checkpoint loaded on the device, and the steps of a test."""

    def __init__(
        self,
        device: Device,
        directory: Path,
        dtype: str = "f32",
        form: str = "f32",
        quantization: str | None = None,
        num_blocks: int = NUM_BLOCKS,
    ) -> None:
        self.graph = make_graph(device, directory, dtype, quantization)
        checkpoint = open_checkpoint(str(directory), progress=False)
        self.model: LoadedModel = device.load(
            self.graph, open_source(self.graph, checkpoint, progress=False)
        )
        self.layout = KVLayout(32, form, self.graph.cache)
        self.model.allocate(self.layout, (num_blocks,) * len(self.graph.cache))
        self.program: Program = self.model.compile(SHAPE)

    def step(
        self,
        rows: Sequence[Row],
        outputs: Sequence[int] | None = None,
        copies: Sequence[tuple[int, int]] = (),
    ) -> np.ndarray:
        """Log-probabilities [N, V] of some of the step's tokens, of all by default."""
        batch = make_batch(self.graph, rows, outputs, copies)
        pending = self.program.run(batch)
        logits = pending.fetch("logits", np.arange(len(batch.outputs), dtype=np.int32)).result()
        return log_softmax(logits)

    def whole(self, tokens: Sequence[int]) -> np.ndarray:
        """Log-probabilities after every token of one sequence, computed in one step."""
        return self.step([(tokens, 0, blocks_for(len(tokens), first=3))])


def make_batch(
    graph: Graph,
    rows: Sequence[Row],
    outputs: Sequence[int] | None = None,
    copies: Sequence[tuple[int, int]] = (),
) -> Batch:
    tokens = [token for new, _, _ in rows for token in new]
    table = np.zeros((len(rows), max(len(blocks) for _, _, blocks in rows)), np.int32)
    for index, (_, _, blocks) in enumerate(rows):
        table[index, : len(blocks)] = blocks
    groups = len(graph.cache)
    return Batch(
        tokens=i32(tokens),
        positions=i32([[past + at for new, past, _ in rows for at in range(len(new))]]),
        row_starts=i32(np.cumsum([0, *(len(new) for new, _, _ in rows)])),
        slots=i32(range(1, len(rows) + 1)),
        past=i32([past for _, past, _ in rows]),
        tables=(table,) * groups,
        copies=(i32(copies).reshape(-1, 2),) * groups,
        outputs=i32(range(len(tokens)) if outputs is None else outputs),
    )


def blocks_for(count: int, first: int) -> list[int]:
    """Blocks for so many tokens, backwards from a first one, so that order is not mistaken for identity."""
    needed = -(-count // 32)
    return list(range(first + needed, first, -1))


def greedy_columns(slots: Sequence[int]) -> SamplingColumns:
    n = len(slots)
    return SamplingColumns(
        slot=i32(slots),
        target=np.full(n, -1, np.int32),
        temperature=np.zeros(n, np.float32),
        top_k=np.zeros(n, np.int32),
        top_p=np.ones(n, np.float32),
        min_p=np.zeros(n, np.float32),
        seed=np.zeros((n, 2), np.uint32),
        position=np.zeros(n, np.int32),
        logprobs=np.full(n, -1, np.int32),
    )


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


class Reference:
    """transformers in f32."""

    def __init__(self, directory: Path) -> None:
        torch.set_num_threads(1)
        self.model = AutoModelForCausalLM.from_pretrained(
            directory, dtype=torch.float32, attn_implementation="eager"
        ).eval()

    def whole(self, tokens: Sequence[int]) -> np.ndarray:
        with torch.no_grad():
            logits = self.model(torch.tensor([list(tokens)])).logits[0]
        return log_softmax(logits.numpy())


def prompt(length: int, seed: int = 0, vocabulary: int = 320) -> list[int]:
    return np.random.default_rng(seed).integers(2, vocabulary, length).tolist()
