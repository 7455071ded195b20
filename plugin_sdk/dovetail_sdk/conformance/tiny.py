"""A decoder of two layers, written with the op builder, that every platform runs: the model of most checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from dovetail.errors import UnsupportedOp
from dovetail.graph import CacheGroup, Graph, GraphBuilder, Value, WeightForm, passes, with_forms
from dovetail.platform import F32, Device, Shape

from .check import Unsupported
from .context import PLAIN_FORMS, Config, Context
from .driving import Session
from .numbers import Weights, generator

VOCABULARY = 131
POISON = VOCABULARY - 1
"""A token whose embedding is NaN: so are its keys and values in every layer."""

CLOSE: Mapping[str, float] = {"f32": 1e-6, "f16": 1e-3, "bf16": 1e-2}
"""Error of logits against the reference, by compute dtype."""
LOSSY_CACHE = 1e-2
"""Where the cache is narrower than any dtype."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiny:
    """What the decoder varies in; one layer per window, None sees everything."""

    windows: tuple[int | None, ...] = (None, None)
    heads: int = 4
    kv_heads: int = 2
    width: int = 64
    hidden: int = 64
    inner: int = 96
    seed: int = 0
    form: WeightForm | None = None

    def graph(self, dtype: str) -> Graph:
        """tokens [T], positions [1, T], outputs [N] -> "logits" [N, V]."""
        graph = _Builder(self, dtype).build()
        if self.form is None:
            return graph
        matrices = [n for n, w in graph.weights.items() if len(w.shape) == 2 and n != "table"]
        return with_forms(graph, dict.fromkeys(matrices, self.form))

    def load(
        self, device: Device, config: Config, *, plain: bool = False, **options: int
    ) -> Session:
        """On a device, rewritten for it unless `plain`.

        options  of Session: num_blocks, and the shape's tokens, rows, outputs, blocks
        raises   Unsupported where the device runs not every op of it
        """
        graph = self.graph(config.dtype)
        prepared = graph if plain else prepare(device, graph)
        size = config.block_size
        tokens = max(128, 8 * size)
        shape = {"tokens": tokens, "rows": 16, "outputs": tokens, "blocks": 8} | options
        num_blocks = shape.pop("num_blocks", 48)
        return Session(
            device,
            prepared,
            Weights(prepared, fill, graph, self.seed),
            form=config.form.name,
            block_size=size,
            num_blocks=num_blocks,
            shape=Shape(**shape),
        )

    def open(self, context: Context, config: Config, **options: Any) -> Session:
        """On the platform under test."""
        return self.load(context.device, config, **options)

    def oracle(self, context: Context, config: Config) -> Session:
        """On the reference, whose cache is f32 where it has not the form."""
        if config.form.name not in PLAIN_FORMS:
            config = replace(config, form=replace(config.form, name="f32"))
        return self.load(context.oracle, config, plain=True)


def prepare(device: Device, graph: Graph) -> Graph:
    """The graph as the core would hand it to the device; Unsupported where that cannot run it."""
    able = device.capabilities
    try:
        return passes.prepare(
            graph,
            ops=able.ops,
            supports=device.supports,
            fused=able.fused_ops,
            rewrites=able.rewrites,
            check=True,
        ).graph
    except UnsupportedOp as error:
        raise Unsupported(str(error)) from None


def tolerance(config: Config) -> float:
    """Error of logits that a configuration may have."""
    if config.form.name not in PLAIN_FORMS:
        return max(CLOSE[config.dtype], LOSSY_CACHE)
    return max(CLOSE[config.dtype], CLOSE[config.form.name])


def prompt(length: int, seed: int = 0) -> list[int]:
    """Token ids, none of them poison."""
    found: list[int] = generator("prompt", seed).integers(0, POISON, length).tolist()
    return found


def fill(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> F32:
    """Numbers with which every op matters and logits are a few units apart."""
    numbers = rng.standard_normal(shape, np.float32)
    if name.endswith("norm.weight"):
        return 1 + np.float32(0.2) * numbers
    if len(shape) == 1:
        return numbers * np.float32(0.1)
    if name == "table":
        numbers[POISON:] = np.nan
        return numbers
    if name == "head":
        numbers[POISON:] = 0  # never the best, so that poison is never generated
    gain = 3.0 if name == "head" else 1.0
    return numbers * np.float32(gain * shape[1] ** -0.5)


class _Builder:
    def __init__(self, tiny: Tiny, dtype: str) -> None:
        self.tiny = tiny
        self.on = GraphBuilder("tiny decoder", dtype)
        self.tokens = self.on.input("tokens", ("T",))
        self.positions = self.on.input("positions", (1, "T"))
        self.rows = self.on.input("outputs", ("N",))

    def build(self) -> Graph:
        tiny, on = self.tiny, self.on
        for window in dict.fromkeys(tiny.windows):
            layers = tuple(at for at, other in enumerate(tiny.windows) if other == window)
            name = f"window{window or ''}"
            on.cache_group(CacheGroup(name, layers, tiny.kv_heads, tiny.width, tiny.width, window))
        table = on.weight("table", (VOCABULARY, tiny.hidden))
        x = on.op("embed", self.tokens, weights={"table": table})
        for layer in range(len(tiny.windows)):
            with on.scope(f"layers.{layer}"):
                x = self._layer(x, layer)
        x = self._norm(on.op("take_rows", x, self.rows), "norm")
        head = on.weight("head", (VOCABULARY, tiny.hidden))
        on.output("logits", on.op("linear", x, weights={"weight": head}, name="logits"))
        return on.build()

    def _layer(self, x: Value, layer: int) -> Value:
        tiny, on, prefix = self.tiny, self.on, f"layers.{layer}"
        y = self._norm(x, f"{prefix}.attention_norm")
        y = self._linear(self._attention(y, layer), f"{prefix}.o_proj", tiny.hidden)
        x = on.op("add", y, x, name="attention_residual")
        y = self._norm(x, f"{prefix}.mlp_norm")
        gate = self._linear(y, f"{prefix}.gate_proj", tiny.inner)
        up = self._linear(y, f"{prefix}.up_proj", tiny.inner)
        y = on.op("gated_activation", gate, up, activation="silu")
        y = self._linear(y, f"{prefix}.down_proj", tiny.hidden)
        return on.op("add", y, x, name="mlp_residual")

    def _attention(self, x: Value, layer: int) -> Value:
        tiny, on = self.tiny, self.on
        q, k, v = (
            on.op(
                "reshape",
                self._linear(x, f"layers.{layer}.{name}_proj", heads * tiny.width, bias=True),
                shape=(heads, tiny.width),
                name=name,
            )
            for name, heads in (("q", tiny.heads), ("k", tiny.kv_heads), ("v", tiny.kv_heads))
        )
        pairs = tiny.width // 2
        turns = tuple(10000.0 ** (-index / pairs) for index in range(pairs))
        q = on.op("rope", q, self.positions, frequencies=turns, name="q_rope")
        k = on.op("rope", k, self.positions, frequencies=turns, name="k_rope")
        y = on.op(
            "attention",
            q,
            on.op("kv_write", k, v, layer=layer),
            layer=layer,
            scale=tiny.width**-0.5,
            kv_heads=tiny.kv_heads,
            value_width=tiny.width,
            window=tiny.windows[layer],
        )
        return on.op("reshape", y, shape=(tiny.heads * tiny.width,), name="joined")

    def _linear(self, x: Value, name: str, outputs: int, *, bias: bool = False) -> Value:
        inputs = x.shape[-1]
        assert isinstance(inputs, int)
        weights = {"weight": self.on.weight(f"{name}.weight", (outputs, inputs))}
        if bias:
            weights["bias"] = self.on.weight(f"{name}.bias", (outputs,))
        return self.on.op("linear", x, weights=weights, name=name.split(".")[-1])

    def _norm(self, x: Value, name: str) -> Value:
        width = x.shape[-1]
        assert isinstance(width, int)
        weight = self.on.weight(f"{name}.weight", (width,))
        return self.on.op(
            "rms_norm", x, weights={"weight": weight}, eps=1e-6, name=name.split(".")[-1]
        )
