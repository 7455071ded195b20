"""A graph as one OpenVINO model.

Values are f32 throughout; the precision hint, given when the model is compiled, decides what is computed in 16 bits.
Patterns that OpenVINO fuses (norms, rotary embedding, compressed weights) are built the way it looks for them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import openvino as ov
from dovetail.graph import Graph
from dovetail.platform import WeightSource
from numpy.typing import NDArray
from openvino import opset16

from .lowering import Lowering
from .ops import LOWERINGS


@dataclass(frozen=True, slots=True)
class Lowered:
    """A model before compilation.

    arrays  memory that the model's constants read; must outlive everything compiled from it
    """

    model: ov.Model
    arrays: tuple[NDArray[np.generic], ...]


def lower(graph: Graph, source: WeightSource) -> Lowered:
    """The whole graph, which `supports` has accepted, as a model whose outputs have the graph's names."""
    state = Lowering(graph, source)
    for node in graph.nodes:
        state.bind(node, LOWERINGS[node.op](state, node))
    results = []
    for name, value in graph.outputs.items():
        result = opset16.result(state.value(value))
        result.output(0).set_names({name})
        results.append(result)
    model = ov.Model(results, state.parameters, graph.name)
    model.validate_nodes_and_infer_types()
    return Lowered(model, tuple(state.weights.arrays))
