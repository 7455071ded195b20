"""What crosses between server and engine process arrives as it was sent, however the bytes are cut."""

from __future__ import annotations

import pickle
from dataclasses import replace

import dovetail.errors
import msgspec
import pytest
from dovetail.config import EngineConfig
from dovetail.engine.client import EngineInfo, EngineStats
from dovetail.engine.messages import (
    Cancel,
    Start,
    Started,
    Stepped,
    Stop,
    Submit,
    Unframer,
    commands,
    failure,
    frame,
    raised,
    reports,
)
from dovetail.request import FinishReason, Output, Request, TokenLogprobs
from dovetail.sampling import SamplingParams
from dovetail.structured.grammar import Grammar
from hypothesis import given
from hypothesis import strategies as st

INFO = EngineInfo(
    model="m",
    platform="null",
    device="d",
    dtype="f32",
    weights="f32",
    cache_form="f32",
    vocab_size=10,
    max_model_len=64,
    max_num_seqs=4,
    max_num_batched_tokens=32,
    block_size=16,
    num_blocks=8,
)
REQUEST = Request(
    id="a",
    prompt=[1, 2, 3],
    sampling=SamplingParams(logit_bias={3: -1.5}, stop=("x",), stop_token_ids=(7,), seed=2**63),
    max_tokens=5,
    stop_ids=frozenset({7, 9}),
    seed=2**64 - 1,
    salt="tenant",
    owner="key",
)
OUTPUT = Output(
    "a",
    [4, 5],
    logprobs=[TokenLogprobs(-0.5, [1, 2], [-0.5, -1.0])],
    prompt_logprobs=[None, TokenLogprobs(-2.0)],
    cached=3,
    finish=FinishReason.STOP,
    stop_id=5,
)
COMMANDS = [Start(EngineConfig(model="x"), "/d", "x"), Submit.of(REQUEST), Cancel("a"), Stop()]
REPORTS = [Started(INFO), Stepped([OUTPUT], EngineStats(running=1, total_steps=2))]


@given(cuts=st.lists(st.integers(0, 4000), max_size=12))
def test_messages_survive_any_cut_of_the_bytes(cuts):
    data = b"".join(bytes(frame(message)) for message in COMMANDS)
    unframer, arrived = Unframer(), []
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for begin, end in zip(edges, edges[1:], strict=False):
        arrived += [commands.decode(message) for message in unframer.feed(data[begin:end])]
    assert arrived == COMMANDS


def test_a_request_arrives_as_it_was_asked():
    other = replace(REQUEST, id="b", sampling=SamplingParams(grammar=Grammar("regex", "a" * 5000)))
    for request in (REQUEST, other, REQUEST):
        sent = bytes(frame(Submit.of(request)))[4:]
        command = commands.decode(sent)
        assert isinstance(command, Submit) and command.request() == request


def test_reports_arrive_as_sent():
    unframer = Unframer()
    data = b"".join(bytes(frame(message)) for message in REPORTS)
    assert [reports.decode(message) for message in unframer.feed(data)] == REPORTS


@pytest.mark.parametrize(
    "kind",
    [dovetail.errors.ConfigError, dovetail.errors.CheckpointError, dovetail.errors.PlatformBroken],
)
def test_errors_keep_their_class_and_words(kind):
    error = raised(failure(kind("file x is short")))
    assert type(error) is kind and str(error) == "file x is short"


def test_foreign_errors_are_told_as_a_failed_engine():
    error = raised(failure(ZeroDivisionError("division by zero")))
    assert isinstance(error, dovetail.errors.EngineStopped) and "division by zero" in str(error)


HOSTILE = [
    pickle.dumps(REQUEST),
    msgspec.msgpack.encode({"type": "Run", "code": "1"}),
    msgspec.msgpack.encode(["Cancel", "a"]),
    msgspec.msgpack.encode({"type": "Cancel", "request_id": 3}),
    msgspec.msgpack.encode({"type": "Start", "config": {}, "directory": ["x"], "name": "x"}),
    bytes(frame(COMMANDS[1]))[4:-3],
    b"",
]


@pytest.mark.defends(
    "code between processes",
    "server and engine tell each other messages of declared types, and nothing else",
    without=(
        "dovetail.engine.messages",
        "= msgspec.msgpack.Decoder(Command)",
        "= msgspec.msgpack.Decoder()",
    ),
)
@pytest.mark.parametrize("data", HOSTILE, ids=lambda data: repr(data)[:20])
def test_what_is_no_message_is_refused(data):
    with pytest.raises(msgspec.DecodeError):
        commands.decode(data)
    with pytest.raises(msgspec.DecodeError):
        reports.decode(data)
