"""The table of kernels: op -> what runs it, tuned for an architecture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from dovetail.graph import Graph, Node
from torch import Tensor

from dovetail_sdk.runner import Kernel, Layer, NodeWeights

from . import activations, mixtures, norms, ops, quantised, rotation
from .attention import attend
from .plan import Plan, make_plan

WIDEST_HEAD = 512


def kernels(architecture: str, fp8: str | None = "e4m3fn") -> dict[str, Kernel]:
    """Triton kernels by op.

    architecture  whose tuning they have: "sm_90", "gfx942", ..., "emulated"
    fp8           the kind of 8-bit float that it converts itself, of dovetail_sdk.torch.fp8.KINDS
    """
    return {
        **_elementwise(architecture),
        **_norms(architecture),
        **_layered(architecture),
        "mixture": Kernel(
            "triton mixture",
            mixtures.Mixture(architecture),
            supports=mixtures.supports,
            pack=partial(mixtures.pack, fp8=fp8),
            note="pairs of tokens and experts in order of the experts",
        ),
        "linear": Kernel(
            "triton linear",
            quantised.Linear(architecture),
            supports=quantised.supports,
            pack=partial(quantised.pack, fp8=fp8),
            note="quantised weights become numbers in registers",
        ),
    }


def _norms(architecture: str) -> dict[str, Kernel]:
    return {
        name: Kernel(f"triton {name}", partial(call, architecture=architecture), supports=_row_fits)
        for name, call in (
            ("rms_norm", norms.rms_norm),
            ("add_rms_norm", norms.add_rms_norm),
            ("layer_norm", norms.layer_norm),
        )
    }


def _elementwise(architecture: str) -> dict[str, Kernel]:
    calls: dict[str, Callable[..., Any]] = {
        "activation": activations.activation,
        "gated_activation": activations.gated_activation,
        "split_gated_activation": activations.split_gated_activation,
    }
    return {
        name: Kernel(f"triton {name}", partial(call, architecture=architecture))
        for name, call in calls.items()
    }


def _layered(architecture: str) -> dict[str, Kernel]:
    rotated = {
        "rope": Kernel(
            "triton rope", partial(rotation.rope, architecture=architecture), pack=_frequencies
        ),
        ops.ROPE_WRITE.name: Kernel(
            "triton rope_write", _RopeWrite(architecture), supports=_heads_fit, pack=_frequencies
        ),
    }
    return {
        **rotated,
        "kv_write": Kernel("triton kv_write", _KVWrite(architecture)),
        "attention": Kernel("triton attention", _Attention(architecture), supports=_heads_fit),
        "sink_attention": Kernel(
            "triton sink_attention", _Attention(architecture), supports=_heads_fit
        ),
        "attention_write": Kernel(
            "triton attention_write", _AttentionWrite(architecture), supports=_heads_fit
        ),
    }


def _frequencies(weights: NodeWeights) -> Mapping[str, Any]:
    given = weights.node.attributes["frequencies"]
    return {"frequencies": weights.backend.upload(np.array(given, np.float32))}


def _row_fits(node: Node, graph: Graph) -> str | None:
    width = graph.values[node.inputs[0]].shape[-1]
    if isinstance(width, int) and width > norms.WIDEST:
        return f"rows of {width} do not fit the registers of a program ({norms.WIDEST})"
    return None


def _heads_fit(node: Node, graph: Graph) -> str | None:
    width = graph.values[node.inputs[0]].shape[-1]
    if isinstance(width, int) and width > WIDEST_HEAD:
        return f"heads of {width} are wider than {WIDEST_HEAD}"
    return None


class _KVWrite:
    def __init__(self, architecture: str) -> None:
        self._architecture = architecture

    def __call__(self, k: Tensor, v: Tensor, *, cache: Layer, step: Any) -> None:
        places = step.places(cache.group)
        rotation.kv_write(
            k, v, places, cache.keys, cache.values, cache.scales, architecture=self._architecture
        )


class _RopeWrite:
    def __init__(self, architecture: str) -> None:
        self._architecture = architecture

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        positions: Tensor,
        *,
        cache: Layer,
        step: Any,
        **attributes: Any,
    ) -> tuple[Tensor, None]:
        rotated = rotation.rope_write(
            q, k, v, positions, step.places(cache.group), cache.keys, cache.values, cache.scales,
            architecture=self._architecture, **attributes,
        )  # fmt: skip
        return rotated, None


class _Attention:
    def __init__(self, architecture: str) -> None:
        self._architecture = architecture

    def __call__(
        self,
        q: Tensor,
        written: None,
        *,
        cache: Layer,
        step: Any,
        scale: float,
        kv_heads: int,
        value_width: int,
        window: int | None = None,
        soft_cap: float | None = None,
        sinks: Tensor | None = None,
    ) -> Tensor:
        shape: dict[str, Any] = {
            "heads": q.shape[1],
            "kv_heads": kv_heads,
            "width": q.shape[2],
            "value_width": value_width,
            "window": window,
        }
        plan: Plan = step.once(
            ("attention plan", *shape.values()),
            lambda: make_plan(step, self._architecture, **shape),
        )
        return attend(
            q, cache.keys, cache.values, step.tables[cache.group], step.starts, step.past, plan,
            scale=scale, window=window, soft_cap=soft_cap, sinks=sinks, scales=cache.scales,
        )  # fmt: skip


class _AttentionWrite:
    def __init__(self, architecture: str) -> None:
        self._write, self._attend = _KVWrite(architecture), _Attention(architecture)

    def __call__(
        self, q: Tensor, k: Tensor, v: Tensor, *, cache: Layer, step: Any, **attributes: Any
    ) -> Tensor:
        self._write(k, v, cache=cache, step=step)
        return self._attend(
            q, None, cache=cache, step=step,
            kv_heads=k.shape[1], value_width=v.shape[2], **attributes,
        )  # fmt: skip
