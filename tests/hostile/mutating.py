"""Files made worse: JSON as a tree, anything as bytes."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

MOST_BYTES = 1 << 20
NUMBERS = (
    0,
    -1,
    1,
    2,
    255,
    2**31,
    2**32 - 1,
    2**32,
    2**53,
    2**63,
    2**64,
    -(2**63),
    0.5,
    -1.5,
    1e308,
)
TEXTS = (
    "",
    "a",
    "Ġ",
    "\0",
    "\u202e",
    "é" * 300,
    "a" * 9000,
    "../../x",
    "{{",
    "A",
    "AAAA",
    "(a+)+$",
    r"\p{L}+",
)


def nested(depth: int) -> Any:
    """Lists in lists."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def hostile(rng: random.Random) -> Any:
    """A value that nobody expects."""
    return rng.choice(
        [
            lambda: rng.choice(NUMBERS),
            lambda: rng.choice(TEXTS),
            lambda: rng.choice([None, True, False, [], {}, [[]], {"type": "Sequence"}]),
            lambda: nested(rng.choice([20, 70, 150])),
            lambda: [rng.choice(NUMBERS)] * rng.choice([3, 5000]),
            lambda: {str(i): rng.choice(NUMBERS) for i in range(rng.choice([3, 2000]))},
        ]
    )()


def places(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of everything in it."""
    found: list[tuple[Any, Any]] = []
    stack = [value]
    while stack:
        item = stack.pop()
        keys = list(item) if isinstance(item, dict) else range(len(item))
        if len(keys) > 60:  # a vocabulary: a few of it
            keys = [*list(keys)[:4], *list(keys)[-2:]]
        for key in keys:
            found.append((item, key))
            if isinstance(item[key], dict | list):
                stack.append(item[key])
    return found


def _replace(rng: random.Random, container: Any, key: Any, _: Any) -> None:
    container[key] = hostile(rng)


def _remove(rng: random.Random, container: Any, key: Any, _: Any) -> None:
    del container[key]


def _repeat(rng: random.Random, container: Any, key: Any, _: Any) -> None:
    if isinstance(container, list):
        container[key:key] = [container[key]] * rng.choice([1, 3, 300])
    else:
        container[f"{key}{rng.randrange(9)}"] = container[key]


def _move(rng: random.Random, container: Any, key: Any, root: Any) -> None:
    other, place = rng.choice(places(root))
    container[key] = copy.deepcopy(other[place])


def _wrap(rng: random.Random, container: Any, key: Any, _: Any) -> None:
    value = container[key]
    for _ in range(rng.choice([1, 3, 70])):
        inner = rng.choice(["normalizers", "pretokenizers", "decoders"])
        value = rng.choice([[value], {"type": "Sequence", inner: [value]}])
    container[key] = value


def _scale(rng: random.Random, container: Any, key: Any, _: Any) -> None:
    value = container[key]
    if isinstance(value, str):
        container[key] = value * rng.choice([0, 2, 50])
    elif isinstance(value, int | float):
        container[key] = value + rng.choice([-1, 1, 2**20, 2**31])


CHANGES: tuple[Callable[..., None], ...] = (
    _replace,
    _replace,
    _remove,
    _repeat,
    _move,
    _wrap,
    _scale,
)


def worse_json(rng: random.Random, value: Any) -> bytes:
    """A tree with one to four changes, as JSON that may be cut or have other bytes in it."""
    root: list[Any] = [copy.deepcopy(value)]
    for _ in range(rng.choice([1, 1, 2, 4])):
        container, key = rng.choice(places(root) or [([None], 0)])
        if root:
            rng.choice(CHANGES)(rng, container, key, root)
    text = json.dumps(root[0] if root else None, ensure_ascii=rng.random() < 0.5)
    data = text.encode(errors="replace")[:MOST_BYTES]
    return worse_bytes(rng, data) if rng.random() < 0.2 else data


def worse_bytes(rng: random.Random, data: bytes) -> bytes:
    """Bytes with up to four changes."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(out) + 1)
        kind = rng.randrange(5)
        if kind == 0:
            del out[at:]
        elif kind == 1 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            out[at:at] = rng.choice(
                [b"\xff", b"\0", b'"', b"[" * 2000, b"9" * 400, b"\xed\xa0\x80"]
            )
        elif kind == 3:
            width = rng.choice([1, 4, 8])
            out[at : at + width] = rng.choice([b"\xff", b"\0", b"\x7f", b"\x80"]) * width
        else:
            end = min(len(out), at + rng.randrange(1, 40))
            out[at:at] = out[at:end]
    return bytes(out)
