"""The Triton interpreter with exact numbers.

The interpreter of Triton 3.7 computes with the bits of bf16 as if they were integers, truncates where a device rounds
to nearest even, and loses the carry of fp8's mantissa. `install` has casts, products and elementwise arithmetic done
by ml_dtypes instead. For emulation alone: nothing here is imported where kernels are compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import triton.language as tl
from numpy.typing import NDArray
from triton.runtime import interpreter

NUMPY_TYPES: dict[Any, Any] = {
    tl.bfloat16: ml_dtypes.bfloat16,
    tl.float8e4nv: ml_dtypes.float8_e4m3fn,
    tl.float8e4b8: ml_dtypes.float8_e4m3fnuz,
    tl.float8e5: ml_dtypes.float8_e5m2,
    tl.float8e5b16: ml_dtypes.float8_e5m2fnuz,
}
"""Types whose numbers the interpreter keeps as integers of the same size."""


def install() -> None:
    """Replace the interpreter's arithmetic, once per process."""
    builder = interpreter.InterpreterBuilder
    if getattr(builder, "_dovetail", False):
        return
    builder._dovetail = True
    builder.cast_impl = _cast
    builder.create_fp_to_fp = _round
    builder.create_dot = _dot
    builder.binary_op = _arithmetic(builder.binary_op)
    interpreter._patch_lang_core = _with_all_types(interpreter._patch_lang_core)


def _numbers(handle: Any) -> NDArray[Any]:
    """The numbers of a tensor of the interpreter, in their own type."""
    kept = NUMPY_TYPES.get(handle.dtype.scalar)
    data: NDArray[Any] = handle.data
    return data if kept is None else data.view(kept)


def _kept(numbers: NDArray[Any], dtype: Any) -> Any:
    """The interpreter's tensor of numbers, rounded to a type."""
    scalar = dtype.scalar
    own = NUMPY_TYPES.get(scalar)
    if own is None:
        data = numbers.astype(interpreter._get_np_dtype(scalar))
    else:
        # ml_dtypes rounds to nearest even from f32; from f64 and integers by way of f32, as devices do
        data = np.ascontiguousarray(numbers.astype(np.float32).astype(own))
        data = data.view(np.uint16 if data.itemsize == 2 else np.uint8)
    return interpreter.TensorHandle(data, scalar)


def _cast(self: Any, source: Any, dtype: Any) -> Any:
    with np.errstate(all="ignore"):
        return _kept(_numbers(source), dtype)


def _round(self: Any, source: Any, dtype: Any, mode: Any) -> Any:
    return _cast(self, source, dtype)


def _dot(self: Any, a: Any, b: Any, total: Any, precision: Any, most_imprecise: Any) -> Any:
    left, right = (_numbers(handle) for handle in (a, b))
    if not np.issubdtype(left.dtype, np.integer):
        left, right = left.astype(np.float32), right.astype(np.float32)
    product = np.matmul(left, right, dtype=total.data.dtype)
    return interpreter.TensorHandle(product + total.data, total.dtype.scalar)


def _arithmetic(plain: Callable[..., Any]) -> Callable[..., Any]:
    bits = (np.bitwise_and, np.bitwise_or, np.bitwise_xor)

    def binary_op(self: Any, left: Any, right: Any, op: Any) -> Any:
        if left.dtype.scalar not in NUMPY_TYPES or op in bits:
            return plain(self, left, right, op)
        with np.errstate(all="ignore"):
            result = op(*(_numbers(handle).astype(np.float32) for handle in (left, right)))
        if result.dtype == np.bool_:
            return interpreter.TensorHandle(result, tl.int1)
        return _kept(result, left.dtype)

    return binary_op


def _with_all_types(patch: Callable[..., None]) -> Callable[..., None]:
    """The interpreter's own patch of the language, which forgets one of the fp8 types."""

    def patch_language(language: Any, scope: Any) -> None:
        patch(language, scope)
        known = language.dtype.to_ir

        def to_ir(self: Any, builder: Any) -> Any:
            return builder.get_fp8e4b8_ty() if self.name == "fp8e4b8" else known(self, builder)

        language.dtype.to_ir = to_ir  # the scope has what stood there first

    return patch_language
