"""Models: every builder's graph at a small size, end to end, beside the reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from dovetail import models
from dovetail.graph import INT8, Graph, with_forms
from dovetail.platform import F32, Device, Shape

from dovetail_sdk.conformance.check import Check, Failed, Unsupported
from dovetail_sdk.conformance.context import PLAIN_FORMS, Config, Context
from dovetail_sdk.conformance.driving import Row, Session
from dovetail_sdk.conformance.numbers import Weights, require_close
from dovetail_sdk.conformance.tiny import prepare, prompt, tolerance
from dovetail_sdk.testing import FAMILIES, TINY
from dovetail_sdk.testing.checkpoints import MODEL_TYPES

from . import encoder

MARGIN = {"f32": 0.01, "f16": 0.1, "bf16": 0.5}
"""Where the reference's best logit leads by this, the greedy token must be the same."""
PROMPT, GENERATED = 40, 24
QUANTISED = 3e-2
"""Error allowed with integer weights below f32, where activations may be quantised too."""


def checks() -> Iterator[Check]:
    """Every family in the main configuration; one in every other, and with integer weights."""
    for name, options in FAMILIES.items():
        yield Check("models", name, partial(run_main, options))
    yield Check("models", "every_dtype_and_cache_form", run_everywhere)
    yield Check("models", "int8_weights", run_quantised)
    yield Check("models", "encoder", encoder.run)


def run_main(options: Mapping[str, Any], context: Context) -> int:
    """A family in the most exact configuration."""
    return compare(context, context.main, graph_of(options, context.main.dtype), 0.0)


def run_everywhere(context: Context) -> int:
    """One model in every dtype and cache form."""
    done = 0
    for config in context.configs:
        done += compare(context, config, graph_of(FAMILIES["qwen3"], config.dtype), 0.0)
    return done


def run_quantised(context: Context) -> int:
    """One model with int8 matrices, in every dtype."""
    if INT8 not in context.capabilities.weight_forms:
        raise Unsupported("does not multiply int8")
    done = 0
    for dtype in context.capabilities.compute_dtypes:
        config = next(c for c in context.configs if c.dtype == dtype)
        graph = graph_of(FAMILIES["llama"], dtype)
        matrices = [name for name in graph.weights if name.endswith("_proj.weight")]
        graph = with_forms(graph, dict.fromkeys(matrices, INT8))
        done += compare(context, config, graph, 0.0 if dtype == "f32" else QUANTISED)
    return done


def graph_of(options: Mapping[str, Any], dtype: str) -> Graph:
    """A family's graph."""
    config = {**TINY, **options}
    config["model_type"] = MODEL_TYPES[config["architectures"][0]]
    return models.build(config, dtype=dtype)


def compare(context: Context, config: Config, graph: Graph, at_least: float) -> int:
    """A prompt in chunks, then greedy tokens one by one, the reference's tokens fed to both; returns the tokens compared."""
    with open_model(context.device, config, graph, rewrite=True) as tested:
        with open_model(context.oracle, config, graph, rewrite=False) as oracle:
            tokens, wanted = generate(oracle)
        found = follow(tested, tokens)
    require_close(str(config), found, wanted, max(4 * tolerance(config), at_least))
    best = np.sort(wanted, axis=1)
    sure = best[:, -1] - best[:, -2] > max(MARGIN[config.dtype], 1.0 if at_least else 0.0)
    if config.form.name not in PLAIN_FORMS:
        sure &= best[:, -1] - best[:, -2] > MARGIN["bf16"]
    wrong = int((found.argmax(axis=1) != wanted.argmax(axis=1))[sure].sum())
    if wrong:
        raise Failed(
            f"{config}: {wrong} of {int(sure.sum())} greedy tokens differ where the margin is clear"
        )
    return int(sure.sum())


def open_model(device: Device, config: Config, graph: Graph, *, rewrite: bool) -> Session:
    """On a device, as the core would hand it over or as it is."""
    prepared = prepare(device, graph) if rewrite else graph
    known = [form.name for form in device.capabilities.cache_forms]
    form = config.form.name if config.form.name in known else "f32"
    size = config.block_size
    return Session(
        device,
        prepared,
        Weights(prepared, fill, graph),
        form=form,
        block_size=size,
        shape=Shape(tokens=64, rows=4, outputs=64, blocks=-(-(PROMPT + GENERATED) // size) + 1),
    )


def fill(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> F32:
    """Matrices large enough that logits differ clearly."""
    numbers = rng.standard_normal(shape, np.float32)
    if name.endswith("norm.weight"):
        return 1 + np.float32(0.2) * numbers
    return numbers * np.float32(0.25 if len(shape) > 1 else 0.1)


def blocks_of(session: Session) -> list[int]:
    """A sequence's blocks, backwards."""
    need = session.need(PROMPT + GENERATED)
    return list(range(need + 2, 2, -1))


def generate(session: Session) -> tuple[list[int], F32]:
    """Greedy tokens after the prompt's, and logits [GENERATED, V]."""
    tokens, logits = prompt(PROMPT), []
    blocks, past = blocks_of(session), 0
    for _ in range(GENERATED):
        logits.append(session.step([Row(tokens[past:], past, blocks)])[-1])
        past = len(tokens)
        tokens.append(int(logits[-1].argmax()))
    return tokens[:-1], np.stack(logits)


def follow(session: Session, tokens: list[int]) -> F32:
    """Logits [GENERATED, V] with the prompt in chunks of odd sizes."""
    blocks, logits = blocks_of(session), []
    ends = [0, 7, 24, 25, *range(PROMPT, len(tokens) + 1)]
    for start, end in zip(ends, ends[1:], strict=False):
        found = session.step([Row(tokens[start:end], start, blocks)])
        if end >= PROMPT:
            logits.append(found[-1])
    return np.stack(logits)
