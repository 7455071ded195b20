"""Single kernels at the shapes of a model, with what each must move and compute: for a benchmark to time.

    for work in works(torch.device("cuda"), "sm_90"):
        seconds = timed(work.call)
        work.rate(seconds)    bytes and operations per second

Bytes are those that no kernel could do without: every weight, key, value and activation once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from dovetail.platform import I32
from torch import Tensor

from dovetail_sdk.runner import Step
from dovetail_sdk.torch.fp8 import KINDS

from . import activations, experts, norms, rotation, sampling
from .attention import attend
from .linear import BLOCK
from .plan import make_plan
from .quantised import EightBits, FourBits


@dataclass(frozen=True, slots=True)
class Work:
    """A call of a kernel, on arrays that are there already.

    moved       bytes, at least
    operations  of the matrix units; 0 where there are none to speak of
    """

    name: str
    call: Callable[[], Any]
    moved: int
    operations: int = 0

    def rate(self, seconds: float) -> dict[str, float]:
        """Achieved rates, for a call that took so long."""
        return {
            "bytes_per_s": self.moved / seconds,
            "operations_per_s": self.operations / seconds,
        }


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of an 8-billion-parameter model, and of steps.

    rows     of steps of one token per row
    context  tokens in the cache of each of those rows
    prompt   tokens of a prompt
    """

    width: int = 4096
    forward: int = 14336
    heads: int = 32
    kv_heads: int = 8
    head: int = 128
    vocabulary: int = 128256
    experts: int = 64
    rows: tuple[int, ...] = (1, 8, 32, 128)
    context: int = 2048
    prompt: int = 4096


TINY = Sizes(128, 256, 4, 2, 32, 300, 4, (1, 3), 70, 40)
"""To see that it runs."""


def works(
    chip: torch.device, architecture: str, sizes: Sizes | None = None, fp8: str | None = "e4m3fn"
) -> Iterator[Work]:
    """Every kernel whose speed matters; arrays are made when their work is asked for.

    fp8  the kind of 8-bit float that the chip converts itself, of dovetail_sdk.torch.fp8.KINDS
    """
    sizes = sizes or Sizes()
    for rows in sizes.rows:
        yield _decode(chip, architecture, sizes, rows, None)
        if fp8 is not None:
            yield _decode(chip, architecture, sizes, rows, fp8)
        yield from _rows(chip, architecture, sizes, rows)
        yield _rotation(chip, architecture, sizes, rows)
        yield from _products(chip, architecture, sizes, rows, fp8)
        yield _mixture(chip, architecture, sizes, rows)
        yield from _draws(chip, sizes, rows)
    yield _prefill(chip, architecture, sizes)
    yield from _products(chip, architecture, sizes, sizes.prompt, fp8)


def _random(chip: torch.device, *shape: int) -> Tensor:
    return torch.randn(shape, device=chip, dtype=torch.float32).to(torch.bfloat16)


def _bytes(chip: torch.device, *shape: int) -> Tensor:
    return torch.randint(0, 256, shape, device=chip, dtype=torch.uint8)


def _size(*tensors: Tensor) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _attention(
    chip: torch.device, architecture: str, sizes: Sizes, new: I32, past: I32, fp8: str | None = None
) -> tuple[Callable[[], Tensor], Tensor, Tensor]:
    """The call, and its queries and keys."""
    size = 16
    blocks = int(-(-(new + past).max() // size))
    table: I32 = 1 + np.random.default_rng(0).permutation(new.size * blocks).astype(np.int32)
    table = table.reshape(new.size, blocks)
    starts: I32 = np.concatenate([[0], np.cumsum(new)]).astype(np.int32)
    host = Step(starts, past, (table,), size)
    tables, begins, before = (torch.tensor(array, device=chip) for array in (table, starts, past))
    step = SimpleNamespace(
        rows=new.size,
        most_new=int(new.max()),
        longest=int((new + past).max()),
        starts=begins,
        host=host,
        once=lambda key, make: make(),
        upload=lambda array: torch.tensor(array, device=chip),
    )
    shape = {"heads": sizes.heads, "kv_heads": sizes.kv_heads}
    plan = make_plan(step, architecture, width=sizes.head, value_width=sizes.head, **shape)
    cache = _random(chip, 1 + table.size, size, sizes.kv_heads, sizes.head)
    scales = None
    if fp8 is not None:
        ones = torch.ones(cache.shape[:3], device=chip)
        cache, scales = cache.to(KINDS[fp8]), (ones, ones)
    q = _random(chip, int(new.sum()), sizes.heads, sizes.head)

    def call() -> Tensor:
        return attend(
            q, cache, cache, tables, begins, before, plan, scale=sizes.head**-0.5, scales=scales
        )

    return call, q, cache


def _decode(
    chip: torch.device, architecture: str, sizes: Sizes, rows: int, fp8: str | None
) -> Work:
    new, past = np.ones(rows, np.int32), np.full(rows, sizes.context - 1, np.int32)
    call, q, cache = _attention(chip, architecture, sizes, new, past, fp8)
    each = sizes.head * cache.element_size() + (0 if fp8 is None else 4)
    moved = 2 * rows * sizes.context * sizes.kv_heads * each
    kept = "" if fp8 is None else " in fp8"
    return Work(f"attention, {rows} rows of {sizes.context}{kept}", call, moved + 2 * _size(q))


def _rotation(chip: torch.device, architecture: str, sizes: Sizes, rows: int) -> Work:
    """Queries, keys and values are read and written once."""
    q = _random(chip, rows, sizes.heads, sizes.head)
    k = _random(chip, rows, sizes.kv_heads, sizes.head)
    positions = torch.arange(rows, device=chip, dtype=torch.int32)[None]
    blocks = 1 + torch.arange(rows, device=chip, dtype=torch.int32)
    cache = _random(chip, rows + 1, 16, sizes.kv_heads, sizes.head)
    frequencies = torch.ones(sizes.head // 2, device=chip)
    return Work(
        f"rope_write, {rows} rows",
        lambda: rotation.rope_write(
            q,
            k,
            k,
            positions,
            (blocks, torch.zeros_like(blocks)),
            cache,
            cache,
            frequencies=frequencies,
            architecture=architecture,
        ),  # fmt: skip
        2 * _size(q, k, k),
    )


def _prefill(chip: torch.device, architecture: str, sizes: Sizes) -> Work:
    """Half of the scores are seen, each by a product with a key and one with a value."""
    count = sizes.prompt
    new, past = np.array([count], np.int32), np.zeros(1, np.int32)
    call, q, _ = _attention(chip, architecture, sizes, new, past)
    operations = 2 * sizes.heads * count * (count + 1) * sizes.head
    moved = 2 * _size(q) + 2 * count * sizes.kv_heads * sizes.head * q.element_size()
    return Work(f"attention, a prompt of {count}", call, moved, operations)


def _rows(chip: torch.device, architecture: str, sizes: Sizes, rows: int) -> Iterator[Work]:
    x, wide = _random(chip, rows, sizes.width), _random(chip, rows, 2 * sizes.forward)
    weight = torch.ones(sizes.width, device=chip)
    yield Work(
        f"add_rms_norm, {rows} rows",
        lambda: norms.add_rms_norm(x, x, weight=weight, eps=1e-5, architecture=architecture),
        4 * _size(x),
    )
    yield Work(
        f"split_gated_activation, {rows} rows",
        lambda: activations.split_gated_activation(
            wide, activation="silu", architecture=architecture
        ),
        _size(wide) * 3 // 2,
    )


def _weights(
    chip: torch.device, sizes: Sizes, fp8: str | None
) -> Iterator[tuple[str, EightBits | FourBits]]:
    """A weight [2F, E] in each quantised form."""
    outputs, inputs = 2 * sizes.forward, sizes.width
    eight, each = _bytes(chip, outputs, inputs), torch.ones(outputs, device=chip)
    yield "int8", EightBits(eight.view(torch.int8), each)
    finite = eight % 0x7F  # the largest of a byte's lower bits may stand for no number
    yield "fp8", EightBits(finite if fp8 is None else finite.view(KINDS[fp8]), each)
    planes = (inputs // BLOCK, outputs)
    scale = torch.ones(planes, device=chip, dtype=torch.float16)
    zero = torch.full(planes, 8, device=chip, dtype=torch.uint8)
    yield "int4", FourBits(_bytes(chip, outputs, inputs // 2), scale, zero, BLOCK)


def _products(
    chip: torch.device, architecture: str, sizes: Sizes, count: int, fp8: str | None
) -> Iterator[Work]:
    x = _random(chip, count, sizes.width)
    for form, weight in _weights(chip, sizes, fp8):
        outputs = 2 * sizes.forward
        yield Work(
            f"linear in {form}, {count} tokens",
            _product(x, weight, architecture),
            _size(x, weight.data, weight.scale) + 2 * count * outputs,
            2 * count * outputs * sizes.width,
        )


def _product(x: Tensor, weight: EightBits | FourBits, architecture: str) -> Callable[[], Tensor]:
    return lambda: weight.product(x, None, architecture)


def _mixture(chip: torch.device, architecture: str, sizes: Sizes, rows: int) -> Work:
    """Two experts of each token; the bytes are those of the experts that were chosen."""
    forward = max(BLOCK, sizes.forward // 8)
    x, logits = _random(chip, rows, sizes.width), _random(chip, rows, sizes.experts)
    up = _random(chip, sizes.experts, 2 * forward, sizes.width)
    down = _random(chip, sizes.experts, sizes.width, forward)
    chosen = int(torch.topk(logits.float(), 2).indices.unique().numel())

    def call() -> Tensor:
        return experts.mixture(
            x, logits, up, down,
            k=2, normalised=True, activation="silu", architecture=architecture,
        )  # fmt: skip

    moved = chosen * _size(up, down) // sizes.experts + 2 * _size(x)
    return Work(f"mixture of {sizes.experts} experts, {rows} tokens", call, moved)


def _draws(chip: torch.device, sizes: Sizes, rows: int) -> Iterator[Work]:
    """Plain draws, and such as are cut by top-k and top-p."""
    logits = torch.randn(rows, sizes.vocabulary, device=chip) * 4
    whole = torch.zeros(rows, dtype=torch.int32, device=chip)
    ones = torch.ones(rows, device=chip)
    seed = torch.zeros(rows, 2, dtype=torch.int32, device=chip)

    def draw(top_k: int, top_p: float) -> Callable[[], Tensor]:
        k, p, zero = whole + top_k, ones * top_p, ones * 0
        limited = top_k > 0 or top_p < 1
        return lambda: sampling.draw(
            logits, ones, k, p, zero, seed, whole, limited=limited, random=True
        )

    yield Work(f"draw, {rows} rows", draw(0, 1.0), _size(logits))
    yield Work(f"draw of top-k and top-p, {rows} rows", draw(50, 0.95), _size(logits))
