"""Vectors on their way out of the engine."""

from __future__ import annotations

import numpy as np

from dovetail.platform import F32
from dovetail.request import FinishReason, Output

NOT_FINITE = "the model's numbers for this request were not finite; its vector would mean nothing"


def delivered(request_id: str, vector: F32, cached: int = 0) -> Output:
    """The one output of a pooled request: its vector [E], or an error where that is not finite."""
    if not np.isfinite(vector).all():
        return Output(request_id, finish=FinishReason.ERROR, error=NOT_FINITE)
    data = np.ascontiguousarray(vector, "<f4").tobytes()
    return Output(request_id, cached=cached, finish=FinishReason.STOP, vector=data)
