"""Which kernel runs an op: the one place that looks at the chip and at lengths."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from dovetail_tpu.trace import Array, Loaded, Settings

Kernel = Callable[..., Array]


def attention_kernel(settings: Settings) -> Kernel | None:
    """Ragged paged attention in Pallas, None where XLA does it."""
    if not settings.pallas:
        return None
    from .attention import attention

    return attention


def write_kernel(settings: Settings) -> Kernel | None:
    """The write of keys and values in Pallas, None where XLA does it."""
    if not settings.pallas:
        return None
    from .kv_write import kv_write

    return kv_write


def int8_kernel(settings: Settings, x: Array, weight: Loaded) -> Kernel | None:
    """int8 weights in Pallas, where whole tiles of them are multiplied."""
    if not _tiled(settings, x, weight):
        return None
    from .int8_linear import int8_linear

    return partial(int8_linear, blocks=settings.chip.int8, interpret=settings.interpret)


def int4_kernel(settings: Settings, x: Array, weight: Loaded) -> Kernel | None:
    """int4 weights in groups in Pallas, where whole tiles and whole groups of them are multiplied."""
    if not _tiled(settings, x, weight) or weight.form.group % settings.chip.lanes:
        return None
    from .int4_linear import int4_linear

    return partial(int4_linear, blocks=settings.chip.int4, interpret=settings.interpret)


def _tiled(settings: Settings, x: Array, weight: Loaded) -> bool:
    """Whether there are whole tiles of tokens, of outputs and of stored inputs."""
    lanes, shape = settings.chip.lanes, weight.data.shape
    whole = shape[0] % lanes == 0 and shape[1] % lanes == 0
    return settings.pallas and x.ndim == 2 and x.shape[0] % 8 == 0 and whole
