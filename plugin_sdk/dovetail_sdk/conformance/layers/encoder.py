"""An encoder end to end, beside the reference: whole rows of mixed lengths, learned positions, the column token_types."""

from __future__ import annotations

import numpy as np
from dovetail import models
from dovetail.platform import F32, Device, Shape

from dovetail_sdk.conformance.check import Unsupported
from dovetail_sdk.conformance.context import Config, Context
from dovetail_sdk.conformance.driving import Row, Session, fetch
from dovetail_sdk.conformance.numbers import Weights, require_close
from dovetail_sdk.conformance.tiny import CLOSE, prepare

CONFIG = {
    "architectures": ["BertModel"],
    "vocab_size": 131,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
STEPS = ((5, 1, 40, 17), (1,), (3, 64, 3))


def run(context: Context) -> int:
    """Means of rows, step after step; returns the number of rows compared."""
    if "token_types" not in context.capabilities.columns:
        raise Unsupported("does not understand the column token_types")
    tested = open_encoder(context.device, context.main)
    oracle = open_encoder(context.oracle, context.main)
    rng, done = np.random.default_rng(3), 0
    with tested, oracle:
        for lengths in STEPS:
            rows = [
                Row(
                    rng.integers(0, CONFIG["vocab_size"], length).tolist(),  # type: ignore[call-overload]
                    0,
                    [],
                    slot,
                    types=rng.integers(0, 2, length).tolist(),
                )
                for slot, length in enumerate(lengths, 1)
            ]
            last = (np.cumsum(lengths) - 1).tolist()
            at = list(range(len(rows)))
            found, wanted = (
                fetch(session.run(rows, last), "hidden", at) for session in (tested, oracle)
            )
            require_close(f"rows of {lengths}", found, wanted, CLOSE[context.main.dtype])
            done += len(rows)
    return done


def open_encoder(device: Device, config: Config) -> Session:
    """On a device, rewritten for it; Unsupported where it lacks an op."""
    graph = models.build(CONFIG, dtype=config.dtype, head=models.Head("embed", "mean"))
    prepared = prepare(device, graph)
    form = config.form.name
    return Session(
        device,
        prepared,
        Weights(prepared, fill, graph),
        form=form if form in [known.name for known in device.capabilities.cache_forms] else "f32",
        block_size=config.block_size,
        shape=Shape(tokens=128, rows=8, outputs=8, blocks=1),
    )


def fill(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> F32:
    """Norms about 1, everything else small."""
    numbers = rng.standard_normal(shape, np.float32) * np.float32(0.2)
    return 1 + numbers if name.endswith("LayerNorm.weight") else numbers
