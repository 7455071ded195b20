"""OpenVINO's paged attention: the op, and a trial that shows what it can do on this processor.

The op is private to OpenVINO (`_PagedAttentionExtension`, 28 inputs in release 2026.4) and is used in this file
alone. It checks neither widths nor numbers: some combinations compile and answer with NaN. So before a width or
a cache form is promised it is tried here once on a few tokens, against NumPy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset16 as ops

from .constants import constant, parameter

BLOCK_SIZE = 32
"""Tokens per block; fixed by OpenVINO's CPU plugin."""

STEP_INPUTS = ("past_lens", "subsequence_begins", "max_context_len")
"""Step inputs of every attention; block tables come per cache group."""

TYPES = {"f32": ov.Type.f32, "bf16": ov.Type.bf16, "f16": ov.Type.f16, "u8": ov.Type.u8}
"""Cache forms by the name they have in the contract."""

_TOLERANCE = {"f32": 1e-4, "f16": 2e-2, "bf16": 0.1, "u8": 0.3}


@dataclass(frozen=True, slots=True)
class AttentionWidths:
    """Everything about an attention that decides which kernel OpenVINO takes.

    heads, kv_heads  H and K; key_width, value_width  D of keys, D of values
    """

    heads: int
    kv_heads: int
    key_width: int
    value_width: int


def step_parameters() -> dict[str, ov.Node]:
    """The step inputs that all attentions share: [R], [R + 1] and a scalar, i32."""
    shapes: dict[str, list[int]] = {"past_lens": [-1], "subsequence_begins": [-1]}
    return {name: parameter(name, shapes.get(name, []), ov.Type.i32) for name in STEP_INPUTS}


def table_parameters(group: int) -> dict[str, ov.Node]:
    """One cache group's tables, rows end to end: block ids [sum of blocks] and begins [R + 1], i32."""
    return {
        name: parameter(f"{name}.{group}", [-1], ov.Type.i32)
        for name in ("block_indices", "block_indices_begins")
    }


def cache_parameters(layer: int) -> tuple[ov.Node, ov.Node]:
    """Keys and values of a layer; OpenVINO chooses type and shape when it compiles."""
    return (
        parameter(f"key_cache.{layer}", None, ov.Type.dynamic),
        parameter(f"value_cache.{layer}", None, ov.Type.dynamic),
    )


def paged_attention(
    query: ov.Output,
    key: ov.Output,
    value: ov.Output,
    caches: tuple[ov.Node, ov.Node],
    step: Mapping[str, ov.Node],
    widths: AttentionWidths,
    *,
    scale: float,
    window: int | None,
) -> ov.Output:
    """Write the step's keys and values, then attend causally.

    query [T, H * D], key [T, K * D], value [T, K * Dv]; returns [T, H * Dv].
    step has the step inputs and one group's tables.
    """
    inputs: list[ov.Node | ov.Output] = [query, key, value, *caches]
    inputs += [step[name] for name in ("past_lens", "subsequence_begins")]
    inputs += [step[name] for name in ("block_indices", "block_indices_begins")]
    inputs += [constant(scale, np.float32), constant(window or 0, np.int32), _empty(np.float32)]
    inputs += [step["max_context_len"]]
    inputs += _unused_inputs()
    node = ov.op._PagedAttentionExtension([_output(item) for item in inputs])
    info = node.get_rt_info()
    info["num_k_heads"] = info["num_v_heads"] = widths.kv_heads
    info["k_head_size"], info["v_head_size"] = widths.key_width, widths.value_width
    return node.output(0)


def _unused_inputs() -> list[ov.Node]:
    """Inputs 13 to 27: features of the op that are switched off."""
    none_i32, none_f32 = _empty(np.int32), _empty(np.float32)
    return [
        none_i32,  # 13 score_aggregation_window
        *(none_i32, none_i32, none_f32),  # 14-16 rotation of cached keys
        *(none_f32, constant(64, np.int32), constant(8, np.int32)),  # 17-19 sparse attention
        none_f32,  # 20 sinks
        *(constant(0, np.int32), none_i32, none_i32, none_i32),  # 21-24 cache eviction
        none_i32,  # 25 token_type_ids
        *(_empty(np.uint8), none_i32),  # 26-27 mask among the new tokens
    ]


def _empty(dtype: type[np.generic]) -> ov.Node:
    return constant(np.zeros(0, dtype), dtype)


def _output(item: ov.Node | ov.Output) -> ov.Output:
    return item if isinstance(item, ov.Output) else item.output(0)


# ------------------------------------------------------------------------------------------------ the trial


@dataclass(frozen=True, slots=True)
class Trial:
    """What a trial found.

    shapes  of one block of keys and of values, [K, S, D] for plain forms
    reason  why the combination must not be used, None if it works
    """

    shapes: tuple[tuple[int, ...], tuple[int, ...]] | None
    reason: str | None


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


def cache_shapes(compiled: ov.CompiledModel, layer: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape of one block of a layer's keys and values, as OpenVINO chose it."""

    def block(name: str) -> tuple[int, ...]:
        dimensions = list(compiled.input(name).get_partial_shape())[1:]
        return tuple(dimension.get_length() for dimension in dimensions)

    return block(f"key_cache.{layer}"), block(f"value_cache.{layer}")


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
    return ov.Core().compile_model(model, "CPU", config)


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
