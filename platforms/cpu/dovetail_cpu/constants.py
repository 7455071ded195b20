"""OpenVINO parameters and constants, and a graph's weights as constants in the form they are stored in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import openvino as ov
from dovetail.graph import Weight
from dovetail.platform import WeightSource
from numpy.typing import ArrayLike, NDArray
from openvino import opset16 as ops

_DENSE = {"f32": ov.Type.f32, "f16": ov.Type.f16, "bf16": ov.Type.bf16}


def parameter(name: str, shape: Sequence[int] | None, element: ov.Type) -> ov.Node:
    """A named model input; -1 is a length known when a step runs, None any shape of rank 4."""
    partial = ov.PartialShape.dynamic(4) if shape is None else ov.PartialShape(list(shape))
    node = ops.parameter(partial, element, name=name)
    node.output(0).set_names({name})
    return node


def constant(value: ArrayLike, dtype: type[np.generic]) -> ov.Node:
    """A small constant, copied."""
    return ops.constant(np.asarray(value, dtype))


class WeightConstants:
    """Weights of a graph as f32 outputs that OpenVINO can keep compressed.

    Large planes are not copied: the constant reads the source's memory map, so `arrays` must outlive every model
    compiled from it (dropping one is a segmentation fault, not an exception).
    """

    def __init__(self, source: WeightSource) -> None:
        self.arrays: list[NDArray[np.generic]] = []
        self._source = source
        self._made: dict[str, ov.Output] = {}

    def vector(self, name: str) -> ov.Output:
        """A [n] weight as f32, copied: norm weights and biases are small."""
        return ops.constant(np.array(self._source.read(name), np.float32)).output(0)

    def matrix(self, name: str) -> ov.Output:
        """A [O, I] weight, made once however often it is used (tied embeddings)."""
        if name not in self._made:
            self._made[name] = self._build(self._source.spec(name)).output(0)
        return self._made[name]

    def _build(self, spec: Weight) -> ov.Node:
        if spec.form.kind == "int8_channel":
            return self._int8(spec)
        if spec.form.kind == "int4_group":
            return self._int4(spec)
        data = self._view(spec.name, "data", spec.shape, _DENSE[spec.form.dtype])
        return data if spec.form.dtype == "f32" else _decompressed(data)

    def _int8(self, spec: Weight) -> ov.Node:
        """i8 [O, I] * f32 [O, 1]"""
        data = ops.convert(self._view(spec.name, "data", spec.shape, ov.Type.i8), "f32")
        scale = np.array(self._source.read(spec.name, "scale"), np.float32).reshape(-1, 1)
        return ops.multiply(data, ops.constant(scale))

    def _int4(self, spec: Weight) -> ov.Node:
        """(u4 [O, G, I / G] - u4 [O, G, 1]) * f32 [O, G, 1], G groups of `form.group` inputs."""
        outputs, inputs = spec.shape
        groups = inputs // spec.form.group
        shape = (outputs, groups, spec.form.group)
        data = ops.convert(self._view(spec.name, "data", shape, ov.Type.u4), "f32")
        zero = ops.convert(self._zero(spec.name, (outputs, groups, 1)), "f32")
        scale = np.array(self._source.read(spec.name, "scale"), np.float32)
        centred = ops.subtract(data, zero)
        scaled = ops.multiply(centred, ops.constant(scale.reshape(outputs, groups, 1)))
        return ops.reshape(scaled, constant([outputs, inputs], np.int64), False)

    def _zero(self, name: str, shape: tuple[int, ...]) -> ov.Node:
        zero = np.array(self._source.read(name, "zero"), np.uint8).reshape(-1)
        return ops.constant(zero.reshape(shape))

    def _view(self, name: str, plane: str, shape: tuple[int, ...], element: ov.Type) -> ov.Node:
        """A constant over the source's own memory."""
        array = np.ascontiguousarray(self._source.read(name, plane)).view(np.uint8)
        self.arrays.append(array)
        tensor = ov.Tensor(array, list(shape), element)
        return ov.op.Constant(tensor, shared_memory=True)


def _decompressed(data: ov.Node) -> ov.Node:
    """To f32, marked so that OpenVINO keeps the 16-bit numbers and does not fold them to f32."""
    node = ops.convert(data, "f32")
    node.get_rt_info()["decompression_0"] = True
    return node
