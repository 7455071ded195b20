"""What paged attention can do on this processor, found out by trying it.

OpenVINO refuses some combinations of dtype, width and cache form when it compiles, some at the first token, and
answers some with NaN. So before one is promised it is run here once, on a few tokens, against NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset16 as ops

from .constants import parameter
from .paged import (
    BLOCK_SIZE,
    TYPES,
    AttentionWidths,
    cache_parameters,
    cache_shapes,
    paged_attention,
    step_parameters,
)

_TOLERANCE = {"f32": 1e-4, "f16": 2e-2, "bf16": 0.1, "u8": 0.3}


@dataclass(frozen=True, slots=True)
class Trial:
    """What a trial found.

    shapes  of one block of keys and of values, [K, S, D] for plain forms
    reason  why the combination must not be used, None if it works
    """

    shapes: tuple[tuple[int, ...], tuple[int, ...]] | None
    reason: str | None


@cache
def shared_core() -> ov.Core:
    """One for the whole process: each loads the processor's plugin anew, which takes longer than a trial itself."""
    return ov.Core()


@cache
def trial(widths: AttentionWidths, dtype: str, form: str) -> Trial:
    """Compile an attention alone, run a few tokens in two steps and compare with NumPy. About 50 ms, once."""
    name = f"paged attention with head width {widths.key_width} in {dtype} over a {form} cache"
    try:
        compiled = _compile_attention(widths, dtype, form)
        shapes = cache_shapes(compiled, 0)
        error = _trial_error(compiled, widths, shapes, form)
    except Exception as failure:  # OpenVINO raises RuntimeError and its own types, by build
        lines = str(failure).strip().splitlines() or [type(failure).__name__]
        return Trial(None, f"OpenVINO refuses {name}: {lines[-1]}")
    limit = max(_TOLERANCE[dtype], _TOLERANCE[form])
    if not error <= limit:
        return Trial(
            None, f"OpenVINO computes {name} wrongly on this processor (error {error:.3g})"
        )
    return Trial(shapes, None)


def _compile_attention(widths: AttentionWidths, dtype: str, form: str) -> ov.CompiledModel:
    sizes = (
        widths.heads * widths.key_width,
        widths.kv_heads * widths.key_width,
        widths.kv_heads * widths.value_width,
    )
    packed = [parameter(name, [-1, n], ov.Type.f32) for name, n in zip("qkv", sizes, strict=True)]
    tables = {
        name: parameter(name, [-1], ov.Type.i32)
        for name in ("block_indices", "block_indices_begins")
    }
    step, caches = step_parameters() | tables, cache_parameters(0)
    query, key, value = (node.output(0) for node in packed)
    scale = widths.key_width**-0.5
    made = paged_attention(query, key, value, caches, step, widths, scale=scale, window=None)
    result = ops.result(made)
    result.output(0).set_names({"out"})
    model = ov.Model([result], [*packed, *step.values(), *caches], "attention")
    config = {
        "INFERENCE_PRECISION_HINT": dtype,
        "KV_CACHE_PRECISION": form,
        "INFERENCE_NUM_THREADS": 1,
    }
    return shared_core().compile_model(model, "CPU", config)


def _trial_error(
    compiled: ov.CompiledModel,
    widths: AttentionWidths,
    shapes: Sequence[tuple[int, ...]],
    form: str,
) -> float:
    """Largest error over 40 tokens given as 37 and then 3; NaN if any result is."""
    random = np.random.default_rng(0)
    heads = (widths.heads, widths.kv_heads, widths.kv_heads)
    depths = (widths.key_width, widths.key_width, widths.value_width)
    arrays = [
        random.standard_normal((40, h, d), dtype=np.float32)
        for h, d in zip(heads, depths, strict=True)
    ]
    request = compiled.create_infer_request()
    kept = []
    for name, shape in zip(("key_cache.0", "value_cache.0"), shapes, strict=True):
        kept.append(np.zeros((3, *shape, TYPES[form].size), np.uint8))
        request.set_tensor(name, ov.Tensor(kept[-1], [3, *shape], TYPES[form]))
    found = [_trial_step(request, arrays, start, end) for start, end in ((0, 37), (37, 40))]
    wanted = _reference(*arrays).reshape(40, -1)
    return float(np.abs(np.concatenate(found) - wanted).max())


def _trial_step(
    request: ov.InferRequest, arrays: Sequence[NDArray[np.float32]], start: int, end: int
) -> NDArray[np.float32]:
    table = [2, 1][: -(-end // BLOCK_SIZE)]
    feeds: dict[str, NDArray[np.generic]] = {
        name: np.ascontiguousarray(array[start:end].reshape(end - start, -1))
        for name, array in zip("qkv", arrays, strict=True)
    }
    integers = {
        "past_lens": [start],
        "subsequence_begins": [0, end - start],
        "block_indices": table,
        "block_indices_begins": [0, len(table)],
        "max_context_len": end,
    }
    feeds |= {name: np.array(numbers, np.int32) for name, numbers in integers.items()}
    for name, array in feeds.items():
        request.set_tensor(name, ov.Tensor(array))
    request.infer()
    return np.array(request.get_tensor("out").data)


def _reference(
    q: NDArray[np.float32], k: NDArray[np.float32], v: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Causal attention in NumPy: q [T, H, D], k [T, K, D], v [T, K, Dv] -> [T, H, Dv]."""
    share = q.shape[1] // k.shape[1]
    k, v = k.repeat(share, 1), v.repeat(share, 1)
    scores = np.einsum("ihd,jhd->hij", q, k) * q.shape[2] ** -0.5
    scores = np.where(np.tri(len(q), dtype=bool), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return np.asarray(np.einsum("hij,jhd->ihd", weights, v), np.float32)
