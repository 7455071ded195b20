"""What the lowering of one graph has made so far, and the pieces that several ops share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import openvino as ov
from dovetail.graph import Graph, Node
from dovetail.platform import WeightSource
from openvino import opset16 as ops

from . import paged
from .constants import WeightConstants, constant, parameter

GRAPH_INPUTS = {
    "tokens": [-1],
    "positions": [-1, -1],
    "outputs": [-1],
    "row_starts": [-1],
    "token_types": [-1],
}
"""Inputs that a step's batch provides, by the name the graph has for them."""


@dataclass(frozen=True, slots=True)
class CacheWrite:
    """What stands for a graph's `cache` value: keys and values on their way into the cache."""

    key: ov.Output
    value: ov.Output


class Lowering:
    """One graph being lowered: what its ops find their inputs in and put their outputs into."""

    def __init__(self, graph: Graph, source: WeightSource) -> None:
        self.graph = graph
        self.weights = WeightConstants(source)
        self.written: dict[str, CacheWrite] = {}
        self._values: dict[str, ov.Output] = {}
        self._tables: dict[tuple[str, tuple[float, ...], float], tuple[ov.Output, ov.Output]] = {}
        self.shared: dict[tuple[object, ...], object] = {}  # made once for several nodes
        self.parameters: list[ov.Node] = []
        for name in graph.inputs:
            node = parameter(name, GRAPH_INPUTS[name], ov.Type.i32)
            self.parameters.append(node)
            self._values[name] = node.output(0)
        self._step = paged.step_parameters() if graph.cache else {}
        self._groups = [paged.table_parameters(index) for index in range(len(graph.cache))]
        self.parameters += self._step.values()
        self.parameters += [node for tables in self._groups for node in tables.values()]

    def value(self, name: str) -> ov.Output:
        """What lowers a value of the graph."""
        return self._values[name]

    def inputs(self, node: Node) -> list[ov.Output]:
        """What lowers a node's inputs, in order."""
        return [self._values[name] for name in node.inputs]

    def width(self, value: str, axis: int) -> int:
        """Length of an axis of a value that does not depend on the step."""
        length = self.graph.values[value].shape[axis]
        if not isinstance(length, int):
            raise ValueError(f"axis {axis} of value {value} is {length}; a number is needed")
        return length

    def bind(self, node: Node, outputs: list[ov.Output]) -> None:
        """Give a node's outputs what lowers them."""
        for name, output in zip(node.outputs, outputs, strict=True):
            self._values[name] = output

    def attend(self, node: Node, query: ov.Output, write: CacheWrite, kv_heads: int) -> ov.Output:
        """Paged attention of a node over its layer's cache; returns [T, H, Dv]."""
        layer = node.layer
        if layer is None:
            raise ValueError(f"node {node.name}: attention needs a cache layer")
        widths = attention_widths(self.graph, node)
        caches = paged.cache_parameters(layer)
        self.parameters += caches
        group = self._groups[self.graph.group_of(layer)]
        step = self._step | group
        made = paged.paged_attention(
            flatten(query, widths.heads * widths.key_width),
            flatten(write.key, kv_heads * widths.key_width),
            flatten(write.value, kv_heads * widths.value_width),
            caches,
            step,
            widths,
            scale=number(node, "scale"),
            window=_window(node),
        )
        return reshape(made, [-1, widths.heads, widths.value_width])

    def rotary_tables(
        self, positions: str, frequencies: tuple[float, ...], factor: float
    ) -> tuple[ov.Output, ov.Output]:
        """cos and sin [T, 1, 1, 2 * n] of half-style rotation, each times factor; shared by all layers."""
        key = (positions, frequencies, factor)
        if key not in self._tables:
            place = reshape(ops.convert(self.value(positions), "f32").output(0), [-1, 1, 1, 1])
            angles = ops.multiply(place, constant([[[frequencies]]], np.float32))
            both = ops.concat([angles, angles], 3)
            pair = (ops.cos(both), ops.sin(both))
            if factor != 1:
                pair = tuple(ops.multiply(part, constant(factor, np.float32)) for part in pair)
            self._tables[key] = (pair[0].output(0), pair[1].output(0))
        return self._tables[key]


def attention_widths(graph: Graph, node: Node) -> paged.AttentionWidths:
    """H, K, D and Dv of an `attention` or `attention_write` node."""
    query = graph.values[node.inputs[0]].shape
    group = graph.cache[graph.group_of(node.layer if node.layer is not None else -1)]
    return paged.AttentionWidths(int(query[1]), group.kv_heads, group.key_width, group.value_width)


def reshape(value: ov.Output, shape: list[int]) -> ov.Output:
    """To a shape in which at most one length is -1."""
    return ops.reshape(value, constant(shape, np.int64), False).output(0)


def flatten(value: ov.Output, width: int) -> ov.Output:
    """To [T, width]."""
    return reshape(value, [-1, width])


def number(node: Node, name: str, default: float | None = None) -> float:
    """An attribute that is a number; ValueError where it is not."""
    value = node.attributes.get(name, default)
    if not isinstance(value, int | float):
        raise ValueError(f"{name} of node {node.name} is {value!r}; a number is needed")
    return float(value)


def numbers(node: Node, name: str) -> tuple[float, ...]:
    """An attribute that is a list of numbers; ValueError where it is not."""
    value = node.attributes.get(name)
    if not isinstance(value, tuple):
        raise ValueError(f"{name} of node {node.name} is {value!r}; numbers are needed")
    return tuple(float(item) for item in value)


def _window(node: Node) -> int | None:
    window = node.attributes.get("window")
    return window if isinstance(window, int) else None


def group_widths(graph: Graph) -> list[paged.AttentionWidths]:
    """Widths of each cache group's attention, in the order of the groups."""
    found = {
        graph.group_of(node.layer): attention_widths(graph, node)
        for node in graph.nodes
        if node.op in ("attention", "attention_write") and node.layer is not None
    }
    return [found[index] for index in range(len(graph.cache))]
