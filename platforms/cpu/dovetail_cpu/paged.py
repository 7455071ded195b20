"""OpenVINO's paged attention, private to it (`_PagedAttentionExtension`, 28 inputs in release 2026.4).

It is made in this file alone. It checks neither widths, numbers nor block ids: see trial.py and feed.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import openvino as ov

from .constants import constant, parameter

BLOCK_SIZE = 32
"""Tokens per block; fixed by OpenVINO's CPU plugin."""

STEP_INPUTS = ("past_lens", "subsequence_begins", "max_context_len")
"""Step inputs of every attention; block tables come per cache group."""

TYPES = {"f32": ov.Type.f32, "bf16": ov.Type.bf16, "f16": ov.Type.f16, "u8": ov.Type.u8}
"""Cache forms by the name they have in the contract."""


@dataclass(frozen=True, slots=True)
class AttentionWidths:
    """Everything about an attention that decides which kernel OpenVINO takes.

    heads, kv_heads  H and K; key_width, value_width  D of keys, D of values
    """

    heads: int
    kv_heads: int
    key_width: int
    value_width: int


BlockShapes = tuple[tuple[int, ...], tuple[int, ...]]
"""Shape of one block of a layer's keys and of its values."""


def block_widths(shapes: BlockShapes, form: str) -> tuple[int, int]:
    """Bytes of those blocks."""
    keys, values = (int(np.prod(shape)) * int(TYPES[form].size) for shape in shapes)
    return keys, values


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


def cache_shapes(compiled: ov.CompiledModel, layer: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape of one block of a layer's keys and values, as OpenVINO chose it."""

    def block(name: str) -> tuple[int, ...]:
        dimensions = list(compiled.input(name).get_partial_shape())[1:]
        return tuple(dimension.get_length() for dimension in dimensions)

    return block(f"key_cache.{layer}"), block(f"value_cache.{layer}")
