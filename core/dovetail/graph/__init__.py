"""The model graph: see graph.py for what it is and ops.py for what it is made of."""

from .builder import GraphBuilder, with_forms
from .case_graph import case_graph, case_vocabulary
from .cases import Case
from .dump import dump
from .graph import (
    BF16,
    COMPUTE_DTYPES,
    F16,
    F32,
    FP8,
    INT4,
    INT8,
    Attribute,
    CacheGroup,
    Dim,
    DType,
    Graph,
    Node,
    Value,
    Weight,
    WeightForm,
)
from .ops import OPS, cases, register
from .sharding import Section, Sharding, Split
from .spec import AttributeSpec, GraphError, Length, Lengths, Operand, OpSpec, Step
from .verify import verify

__all__ = [
    "BF16",
    "COMPUTE_DTYPES",
    "F16",
    "F32",
    "FP8",
    "INT4",
    "INT8",
    "OPS",
    "Attribute",
    "AttributeSpec",
    "CacheGroup",
    "Case",
    "DType",
    "Dim",
    "Graph",
    "GraphBuilder",
    "GraphError",
    "Length",
    "Lengths",
    "Node",
    "OpSpec",
    "Operand",
    "Section",
    "Sharding",
    "Split",
    "Step",
    "Value",
    "Weight",
    "WeightForm",
    "case_graph",
    "case_vocabulary",
    "cases",
    "dump",
    "register",
    "verify",
    "with_forms",
]
