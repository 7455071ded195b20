"""Sampling as the contract words it, slow and literal, to hold the fast sampler against."""

from __future__ import annotations

import numpy as np
from dovetail.platform import LateEdits, SamplingColumns


def philox(counter, key):
    """Philox-4x32-10 on Python integers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [
            (p1 >> 32) ^ c[1] ^ k[0],
            p1 & 0xFFFFFFFF,
            (p0 >> 32) ^ c[3] ^ k[1],
            p0 & 0xFFFFFFFF,
        ]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def gumbel(token, position, seed):
    word = philox((token >> 2, position, 0, 0), seed)[token & 3]
    return -np.log(-np.log((word + 0.5) / 2**32))


def edit(row, index, late: LateEdits | None):
    row = row.astype(np.float32).copy()
    if late is None:
        return row
    with np.errstate(all="ignore"):
        for r, i, f, a in zip(late.rows, late.ids, late.factors, late.addends, strict=True):
            if r == index:
                row[i] = (row[i] / f if row[i] > 0 else row[i] * f) + a
    for r, mask in zip(late.mask_rows, late.masks, strict=True):
        if r == index:
            for token in range(row.size):
                if not mask[token >> 5] >> (token & 31) & 1:
                    row[token] = np.minimum(row[token], np.float32(-np.inf))
    return row


def survivors(row, temperature, top_k, top_p, min_p):
    """Ids left after top-k, top-p and min-p, most likely first."""
    order = np.argsort(-row, kind="stable")
    scaled = (row[order].astype(np.float64) - float(row.max())) / temperature
    if top_k > 0:
        order, scaled = order[:top_k], scaled[:top_k]
    if top_p < 1:
        mass = np.cumsum(np.exp(scaled))
        count = 1 + int(np.sum(mass < top_p * mass[-1]))
        order, scaled = order[:count], scaled[:count]
    if min_p > 0:
        order = order[scaled >= np.log(min_p)]
    return order if order.size else np.array([int(row.argmax())])


def choose(row, columns: SamplingColumns, index):
    """The id drawn from an edited, finite row."""
    temperature = float(columns.temperature[index])
    if temperature == 0:
        return int(row.argmax())
    ids = np.sort(
        survivors(
            row,
            temperature,
            int(columns.top_k[index]),
            float(columns.top_p[index]),
            float(columns.min_p[index]),
        )
    )
    seed = tuple(int(word) for word in columns.seed[index])
    position = int(columns.position[index])
    scores = [float(row[i]) / temperature + gumbel(int(i), position, seed) for i in ids]
    return int(ids[int(np.argmax(scores))])


def log_softmax(row):
    row = row.astype(np.float64)
    peak = row.max()
    return row - peak - np.log(np.exp(row - peak).sum())


def columns(count, **given) -> SamplingColumns:
    """Columns of `count` greedy rows, with some replaced."""
    plain = {
        "slot": np.full(count, -1, np.int32),
        "target": np.full(count, -1, np.int32),
        "temperature": np.zeros(count, np.float32),
        "top_k": np.zeros(count, np.int32),
        "top_p": np.ones(count, np.float32),
        "min_p": np.zeros(count, np.float32),
        "seed": np.zeros((count, 2), np.uint32),
        "position": np.arange(count, dtype=np.int32),
        "logprobs": np.full(count, -1, np.int32),
    }
    for name, value in given.items():
        plain[name] = np.array(np.broadcast_to(value, plain[name].shape), plain[name].dtype)
    return SamplingColumns(**plain)


def no_edits(vocab_size) -> LateEdits:
    return LateEdits(
        rows=np.zeros(0, np.int32),
        ids=np.zeros(0, np.int32),
        factors=np.zeros(0, np.float32),
        addends=np.zeros(0, np.float32),
        mask_rows=np.zeros(0, np.int32),
        masks=np.zeros((0, -(-vocab_size // 32)), np.uint32),
    )
