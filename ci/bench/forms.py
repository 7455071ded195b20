"""Models in the forms that accuracy.py compares, and their logits along given texts. It measures nothing itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from bare import QWEN2_5_0_5B
from dovetail import models
from dovetail.graph import Graph, Weight, passes, with_forms
from dovetail.platform import F32, I32, Batch, Device, KVLayout, Shape, WeightSource
from dovetail.plugins import open_device, select
from dovetail.weights import choose_forms, open_checkpoint, open_source, random_weights
from dovetail.weights.quantise import Planes, quantise
from dovetail.weights.source import planes_of
from numpy.typing import NDArray

ROWS = 10
"""Texts that are computed side by side."""
BLOCK_SIZE = 32


@dataclass(frozen=True, slots=True)
class Case:
    """One way to run a model; `weights` is a --quantization, "stored" for none."""

    dtype: str
    weights: str
    cache: str
    precision: str = ""
    kernels: str = "auto"

    @property
    def options(self) -> dict[str, str]:
        precision = {"precision": self.precision} if self.precision else {}
        return {**precision, "kernels": self.kernels}


@dataclass(frozen=True, slots=True)
class Text:
    """Token ids of a prompt and of the reply after it; logits are taken where the reply's tokens are drawn."""

    prompt: tuple[int, ...]
    reply: tuple[int, ...]


class RandomForms:
    """Random dense weights, in bf16 as checkpoints are, quantised where the graph asks: a WeightSource."""

    def __init__(self, graph: Graph, dense: Graph) -> None:
        self._weights = graph.weights
        self._dense = random_weights(dense)
        self._made: tuple[str, Planes] = ("", {})

    def spec(self, name: str) -> Weight:
        return self._weights[name]

    def planes(self, name: str) -> tuple[str, ...]:
        return planes_of(self._weights[name].form)

    def read(
        self, name: str, plane: str = "data", rows: slice = slice(None)
    ) -> NDArray[np.generic]:
        weight = self._weights[name]
        if weight.form.kind == "dense":
            return self._dense.read(name, plane, rows)
        if self._made[0] != name:
            outputs, inputs = weight.shape

            def read(some: slice) -> NDArray[np.float32]:
                return np.array(self._dense.read(name, rows=some), np.float32)

            self._made = (name, quantise(read, (outputs, inputs), weight.form))
        return np.asarray(self._made[1][plane][rows])


class Source:
    """Where a model's weights come from: a checkpoint, or random numbers in the shape of Qwen2.5-0.5B."""

    def __init__(self, model: str, layers: int) -> None:
        self._checkpoint = None if model == "random" else open_checkpoint(model, progress=False)
        self._config: Any = (
            {**QWEN2_5_0_5B, "num_hidden_layers": layers}
            if self._checkpoint is None
            else self._checkpoint.config
        )

    def graph(self, device: Device, case: Case) -> Graph:
        """As the engine would hand it to the device."""
        able = device.capabilities
        plain = models.build(self._config, dtype=case.dtype)
        forms = choose_forms(
            plain,
            self._checkpoint,
            quantization=None if case.weights == "stored" else case.weights,
            accepted=able.weight_forms,
            compute_dtype="bf16",
        ).forms
        return passes.prepare(
            with_forms(plain, forms),
            ops=able.ops,
            fused=able.fused_ops,
            rewrites=able.rewrites,
            supports=device.supports,
        ).graph

    def weights(self, device: Device, graph: Graph) -> WeightSource:
        if self._checkpoint is not None:
            return open_source(graph, self._checkpoint, progress=False)
        return RandomForms(graph, self.graph(device, Case(graph.dtype, "stored", "")))


@dataclass(frozen=True, slots=True)
class Found:
    """What ran the model, and the logits [tokens of the reply, V] of each text."""

    kernels: str
    logits: list[F32]


def follow(source: Source, case: Case, texts: Sequence[Text]) -> Found | None:
    """The case's logits along the texts, each reply fed token by token; None where the device has not the case."""
    device = open_device(select("cpu"), case.options)
    able = device.capabilities
    cache = next((form for form in able.cache_forms if form.name == case.cache), None)
    if case.dtype not in able.compute_dtypes or cache is None:
        return None
    if cache.compute_dtypes and case.dtype not in cache.compute_dtypes:
        return None
    graph = source.graph(device, case)
    model = device.load(graph, source.weights(device, graph))
    groups = [texts[at : at + ROWS] for at in range(0, len(texts), ROWS)]
    longest = max(len(text.prompt) + len(text.reply) for text in texts)
    tokens = max(sum(len(text.prompt) for text in group) for group in groups)
    blocks = -(-longest // BLOCK_SIZE)
    layout = KVLayout(BLOCK_SIZE, cache.name, graph.cache)
    model.allocate(layout, (1 + ROWS * blocks,) * len(graph.cache))
    program = model.compile(Shape(tokens=tokens, rows=ROWS, outputs=ROWS, blocks=blocks))
    logits: list[F32] = []
    for group in groups:
        parts: list[list[F32]] = [[] for _ in group]
        for batch, rows in steps(group, blocks, len(graph.cache)):
            wanted = np.arange(len(rows), dtype=np.int32)
            found = program.run(batch).fetch("logits", wanted).result()
            for row, values in zip(rows, found, strict=True):
                parts[row].append(values)
        logits += [np.stack(part) for part in parts]
    kernels = str(device.supports(graph)[0].kernel).split(".")[0]
    model.close()
    device.close()
    return Found(kernels, logits)


def steps(
    texts: Sequence[Text], blocks: int, cache_groups: int
) -> Iterator[tuple[Batch, list[int]]]:
    """Batches that compute all prompts at once and then the replies, and whose rows they are."""
    tables = 1 + np.arange(len(texts) * blocks, dtype=np.int32).reshape(len(texts), blocks)
    for at in range(max(len(text.reply) for text in texts)):
        rows = [row for row, text in enumerate(texts) if at < len(text.reply)]
        new = [texts[row].reply[at - 1 : at] if at else texts[row].prompt for row in rows]
        past = [len(texts[row].prompt) + at - 1 if at else 0 for row in rows]
        starts = i32(np.cumsum([0, *(len(tokens) for tokens in new)]))
        batch = Batch(
            tokens=i32([token for tokens in new for token in tokens]),
            positions=i32([[p + i for p, n in zip(past, new, strict=True) for i in range(len(n))]]),
            row_starts=starts,
            slots=i32([row + 1 for row in rows]),
            past=i32(past),
            tables=(tables[rows],) * cache_groups,
            copies=(np.zeros((0, 2), np.int32),) * cache_groups,
            outputs=starts[1:] - 1,
        )
        yield batch, rows


def i32(numbers: object) -> I32:
    return np.asarray(numbers, np.int32)
