"""The engine for encoders on the null platform: who is computed when, and what happens to the rest."""

from __future__ import annotations

import json

import numpy as np
import pytest
from dovetail.config import EngineConfig
from dovetail.engine.load import load_engine
from dovetail.errors import CacheLost, ConfigError, DeviceLost
from dovetail.request import FinishReason, Request
from dovetail.sampling import SamplingParams
from dovetail.weights.checkpoint import open_checkpoint
from dovetail_sdk.testing import write_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

SIZES = {"vocab_size": 320, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
BUDGET, ROWS = 64, 4


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A BERT whose numbers are zeros; the null platform reads none."""
    made = tmp_path_factory.mktemp("bert")
    config = {"architectures": ["BertModel"], "num_attention_heads": 2, **SIZES}
    (made / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 64}))
    write_tokenizer(made, 320)
    from dovetail import models

    head = models.Head("embed", "mean")
    graph = models.build(json.loads((made / "config.json").read_text()), dtype="f32", head=head)
    zeros = {name: np.zeros(weight.shape, np.float32) for name, weight in graph.weights.items()}
    save_file(zeros, made / "model.safetensors")
    return made


def engine(directory, **given):
    config = EngineConfig(
        model=str(directory),
        platform="null:strict",
        **{"max_num_batched_tokens": BUDGET, "max_num_seqs": ROWS, **given},
    )
    return load_engine(config, open_checkpoint(str(directory)))


def request(name: str, length: int, priority: int = 0) -> Request:
    prompt = [3 + len(name)] * length
    return Request(
        id=name,
        prompt=prompt,
        sampling=SamplingParams(),
        max_tokens=0,
        task="embed",
        priority=priority,
    )


@given(lengths=st.lists(st.integers(1, BUDGET), min_size=1, max_size=30))
@settings(deadline=None, max_examples=30)
def test_every_step_fits_and_takes_the_oldest(directory, lengths):
    made = engine(directory)
    for index, length in enumerate(lengths):
        made.submit(request(str(index), length))
    waiting = list(range(len(lengths)))
    while made.has_work:
        outputs = made.step()
        done = [int(output.request_id) for output in outputs]
        assert waiting[0] in done
        assert len(done) <= ROWS and sum(lengths[index] for index in done) <= BUDGET
        assert all(len(output.vector) == 4 * SIZES["hidden_size"] for output in outputs)
        waiting = [index for index in waiting if index not in done]
    assert not waiting
    made.close()


def test_cancelled_and_urgent_requests(directory):
    made = engine(directory, max_num_seqs=1)
    for name, priority in (("a", 1), ("b", 0), ("c", 0)):
        made.submit(request(name, 5, priority))
    made.cancel("b")
    first = made.step()
    assert [(o.request_id, o.finish) for o in first] == [
        ("b", FinishReason.CANCELLED),
        ("c", FinishReason.STOP),
    ]
    assert [output.request_id for output in made.step()] == ["a"]
    made.close()


def test_what_can_never_fit_ends_with_an_error(directory):
    made = engine(directory)
    made.submit(request("long", BUDGET + 1))
    (output,) = made.step()
    assert output.finish is FinishReason.ERROR and "context" in output.error
    made.close()
    with pytest.raises(ConfigError, match="whole sequences"):
        engine(directory, max_num_batched_tokens=BUDGET - 1)


def test_a_lost_step_is_computed_again_and_too_many_end_the_engine(directory, monkeypatch):
    made = engine(directory)
    made.submit(request("a", 5))
    compute, lost = made._compute, [True]

    def loses_once(rows):
        if lost.pop():
            raise CacheLost("gone")
        return compute(rows)

    monkeypatch.setattr(made, "_compute", loses_once)
    lost[:] = [False, True]
    assert made.step() == []
    assert [output.request_id for output in made.step()] == ["a"]
    lost[:] = [True] * 20
    made.submit(request("b", 5))
    with pytest.raises(DeviceLost, match="in a row"):
        for _ in range(20):
            made.step()
    made.close()
