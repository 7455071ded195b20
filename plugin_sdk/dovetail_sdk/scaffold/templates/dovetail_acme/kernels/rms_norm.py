"""RMS normalisation."""

from __future__ import annotations

import numpy as np
from dovetail.platform import F32


def rms_norm(x: F32, *, weight: F32, eps: float) -> F32:
    """x / sqrt(mean(x^2) + eps) * weight over the last axis.

    x        [*, W]
    weight   [W]
    returns  [*, W]

    Source: Zhang and Sennrich 2019, equation 4.
    """
    mean = np.einsum("...w,...w->...", x, x)[..., None] / np.float32(x.shape[-1])
    return np.asarray(x * weight / np.sqrt(mean + np.float32(eps)))
