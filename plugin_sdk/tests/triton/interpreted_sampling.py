"""Edits, masks and draws against the sampler of the host, by the interpreter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dovetail.platform import LateEdits, SamplingColumns
from dovetail_sdk.sampling import HostSampler
from dovetail_sdk.triton import SAMPLING

VOCABULARY = 5000  # two chunks, the last not full


def rows_of(random, count):
    """Logits as models make them: some flat, some steep, with equal ones among them."""
    logits = random.standard_normal((count, VOCABULARY)) * random.uniform(0.5, 6, (count, 1))
    return (np.round(logits * 16) / 16 - 3).astype(np.float32)


def columns_of(random, count, **given):
    drawn = {
        "temperature": random.uniform(0.2, 2.0, count),
        "top_k": np.zeros(count),
        "top_p": np.ones(count),
        "min_p": np.zeros(count),
        **given,
    }
    return SamplingColumns(
        slot=np.full(count, -1, np.int32),
        target=np.full(count, -1, np.int32),
        temperature=drawn["temperature"].astype(np.float32),
        top_k=drawn["top_k"].astype(np.int32),
        top_p=drawn["top_p"].astype(np.float32),
        min_p=drawn["min_p"].astype(np.float32),
        seed=random.integers(0, 2**32, (count, 2), np.uint32),
        position=random.integers(0, 2**20, count).astype(np.int32),
        logprobs=np.full(count, -1, np.int32),
    )


def drawn(logits, columns, limited=True, random=True):
    return SAMPLING["draw"](
        torch.tensor(logits),
        *(torch.tensor(getattr(columns, name)) for name in ("temperature", "top_k", "top_p", "min_p")),
        torch.tensor(columns.seed.view(np.int32)),
        torch.tensor(columns.position),
        limited=limited,
        random=random,
    ).numpy()  # fmt: skip


def by_host(logits, columns, late=None):
    rows = np.arange(len(logits), dtype=np.int32)
    return HostSampler(VOCABULARY).sample(logits, rows, columns, late).ids


def test_draws_are_the_hosts():
    random = np.random.default_rng(0)
    logits = rows_of(random, 10)
    temperature = random.uniform(0.2, 2.0, 10)
    temperature[::3] = 0
    columns = columns_of(random, 10, temperature=temperature)
    assert drawn(logits, columns, limited=False).tolist() == by_host(logits, columns).tolist()
    greedy = columns_of(random, 10, temperature=np.zeros(10))
    assert drawn(logits, greedy, random=False).tolist() == by_host(logits, greedy).tolist()


@pytest.mark.parametrize(
    "cuts",
    [
        {"top_k": np.array([1, 2, 7, 100, 0, 5000])},
        {"top_p": np.array([0.0, 0.1, 0.5, 0.9, 0.999, 1.0])},
        {"min_p": np.array([1.0, 0.5, 0.1, 0.01, 0.0, 0.05])},
        {
            "top_k": np.array([50, 3, 0, 4000, 40, 5]),
            "top_p": np.array([0.9, 0.5, 0.95, 0.99, 1.0, 0.01]),
            "min_p": np.array([0.0, 0.2, 0.05, 0.0, 0.1, 0.0]),
        },
    ],
    ids=["top_k", "top_p", "min_p", "all"],
)
def test_draws_of_cut_rows_are_the_hosts(cuts):
    random = np.random.default_rng(1)
    logits = rows_of(random, 6)
    columns = columns_of(random, 6, **cuts)
    assert drawn(logits, columns).tolist() == by_host(logits, columns).tolist()


def test_equal_logits_are_cut_by_their_ids():
    """All of them equal: top-k keeps the lowest ids, top-p as many as its share."""
    logits = np.zeros((4, VOCABULARY), np.float32)
    logits[:, 3] = -0.0
    found = set()
    for seed in range(2):
        columns = columns_of(
            np.random.default_rng(seed),
            4,
            top_k=np.array([6, 0, 5, 0]),
            top_p=np.array([1.0, 0.001, 1.0, 0.0009]),
        )
        ids = drawn(logits, columns)
        assert ids.tolist() == by_host(logits, columns).tolist()
        found.update(ids.tolist())
    assert found <= set(range(6))
    assert len(found) > 2


def test_broken_rows_give_ids_and_leave_others_alone():
    random = np.random.default_rng(2)
    logits = rows_of(random, 5)
    logits[0, 17], logits[1, 4500], logits[2] = np.nan, np.inf, -np.inf
    logits[3] = np.nan
    columns = columns_of(random, 5, top_p=np.full(5, 0.9))
    ids = drawn(logits, columns)
    assert ids[1] == 4500
    assert ids[4] == by_host(logits, columns)[4]
    assert ((ids >= 0) & (ids < VOCABULARY)).all()


def test_edits_and_masks_are_the_hosts():
    random = np.random.default_rng(3)
    logits = rows_of(random, 4)
    rows = np.repeat(np.array([0, 2], np.int32), 300)
    ids = np.concatenate([random.permutation(VOCABULARY)[:300] for _ in range(2)]).astype(np.int32)
    late = LateEdits(
        rows=rows,
        ids=ids,
        factors=random.uniform(0.5, 2, 600).astype(np.float32),
        addends=np.where(random.random(600) < 0.2, -np.inf, random.normal(size=600)).astype(np.float32),
        mask_rows=np.array([2, 3], np.int32),
        masks=random.integers(0, 2**32, (2, -(-VOCABULARY // 32)), np.uint32),
    )  # fmt: skip
    columns = columns_of(random, 4, temperature=np.array([0.0, 0.7, 1.0, 0.3]))
    changed = torch.tensor(logits)
    edits = (late.rows, late.ids, late.factors, late.addends)
    SAMPLING["edit"](changed, *(torch.tensor(array) for array in edits))
    SAMPLING["mask"](changed, torch.tensor(late.mask_rows), torch.tensor(late.masks.view(np.int32)))
    assert (
        drawn(changed.numpy(), columns, limited=False).tolist()
        == by_host(logits, columns, late).tolist()
    )
    barred = (
        np.unpackbits(late.masks.view(np.uint8), axis=1, bitorder="little")[:, :VOCABULARY] == 0
    )
    assert np.isneginf(changed.numpy()[2:][barred]).all()
    assert np.array_equal(changed.numpy()[3][~barred[1]], logits[3][~barred[1]])
    assert np.array_equal(changed.numpy()[1], logits[1])
