"""The library's C interface for ctypes: the structs of source/kernels.h and source/program.h, field by field."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_char_p, c_float, c_int, c_int32, c_int64, c_void_p
from pathlib import Path

OPS = (
    "embed",
    "pack",
    "product",
    "norm",
    "rope_table",
    "rope",
    "attention",
    "add",
    "multiply",
    "scale",
    "activate",
    "take_rows",
)
OP = {name: number for number, name in enumerate(OPS)}
FORM = {"dense": 0, "int8_channel": 1, "int4_group": 2}
ACTIVATION = {"silu": 0, "gelu": 1, "gelu_tanh": 2, "relu": 3}


class Matrix(Structure):
    _fields_ = (
        ("data", c_void_p),
        ("scale", c_void_p),
        ("zero", c_void_p),
        ("bias", c_void_p),
        ("outputs", c_int64),
        ("inputs", c_int64),
        ("form", c_int32),
        ("group", c_int32),
        ("sums", c_void_p),  # the program's own
    )


class Value(Structure):
    _fields_ = (("slot", c_int32), ("outputs", c_int32), ("offset", c_int64), ("width", c_int64))


class PackedSpec(Structure):
    _fields_ = (
        ("inputs", c_int64),
        ("group", c_int64),
        ("form", c_int32),
        ("weight_group", c_int32),
        ("outputs", c_int32),
        ("terms", c_int32),
    )


class Step(Structure):
    _fields_ = (
        ("op", c_int32),
        ("packed", c_int32),
        ("layer", c_int32),
        ("group", c_int32),
        ("inputs", c_int32 * 4),
        ("outputs", c_int32 * 4),
        ("matrix", c_int32 * 4),
        ("number", c_int64 * 6),
        ("scalar", c_float * 4),
        ("weight", c_void_p),
    )


class Plan(Structure):
    _fields_ = (
        ("steps", POINTER(Step)),
        ("values", POINTER(Value)),
        ("matrices", POINTER(Matrix)),
        ("packed", POINTER(PackedSpec)),
        ("slot_widths", POINTER(c_int64)),
        ("slot_outputs", POINTER(c_int32)),
        ("num_steps", c_int64),
        ("num_values", c_int64),
        ("num_matrices", c_int64),
        ("num_packed", c_int64),
        ("num_slots", c_int64),
        ("num_layers", c_int64),
    )


class Inputs(Structure):
    _fields_ = (
        ("tokens", c_void_p),
        ("positions", c_void_p),
        ("row_starts", c_void_p),
        ("past", c_void_p),
        ("outputs", c_void_p),
        ("tables", POINTER(c_void_p)),
        ("table_starts", POINTER(c_void_p)),
        ("results", POINTER(c_void_p)),
        ("peak_values", c_void_p),
        ("peak_ids", c_void_p),
        ("peaked", c_int64),
        ("num_tokens", c_int64),
        ("num_rows", c_int64),
        ("num_outputs", c_int64),
    )


def open_library(path: Path) -> ctypes.CDLL:
    """Load and declare it; OSError where it cannot be loaded."""
    library = ctypes.CDLL(str(path))
    signatures: dict[str, tuple[object, tuple[object, ...]]] = {
        "sources": (c_char_p, ()),
        "kernels": (c_char_p, (c_int,)),
        "new": (c_void_p, (c_char_p, c_int, c_int, POINTER(Plan))),
        "delete": (None, (c_void_p,)),
        "set_layer": (None, (c_void_p, c_int64, c_void_p, c_void_p, c_int64, c_int64)),
        "reserve": (c_int, (c_void_p, c_int64, c_int64)),
        "start": (c_int, (c_void_p, POINTER(Inputs))),
        "wait": (None, (c_void_p,)),
        "done": (c_int, (c_void_p,)),
        "spent": (None, (c_void_p, POINTER(c_int64), c_int)),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, f"dovetail_{name}")
        function.restype, function.argtypes = result, arguments
    return library
