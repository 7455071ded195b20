"""From outputs of an engine to deltas of text."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest
from dovetail.errors import EngineError
from dovetail.request import FinishReason, Output, TokenLogprobs
from dovetail.sampling import SamplingParams
from dovetail.text.reply import Delta, Reply, deltas
from dovetail.text.tokenizer import Tokenizer
from hypothesis import given
from hypothesis import strategies as st

STOPS = ("fox", "three.", "好世", "one t")


def outputs_of(
    ids: Sequence[int], sizes: Sequence[int], *, logprobs: bool = False, stop_id: int | None = None
) -> list[Output]:
    """Tokens in batches; the last output carries the end."""
    outputs, at = [], 0
    for size in [*sizes, *[1] * len(ids)]:
        part = list(ids[at : at + size])
        if part:
            scores = [TokenLogprobs(-float(i)) for i in part] if logprobs else None
            outputs.append(Output("r", part, scores))
        at += size
    outputs[-1].finish = FinishReason.LENGTH if stop_id is None else FinishReason.STOP
    outputs[-1].stop_id = stop_id
    return outputs


def feed(reply: Reply, outputs: Sequence[Output]) -> list[Delta]:
    got = []
    for output in outputs:
        got.append(reply.feed(output))
        if got[-1].finish is not None:
            break
    return got


@given(
    text=st.text(alphabet="the quick fox one two three.你好世界😀", min_size=1, max_size=60),
    sizes=st.lists(st.integers(1, 5), max_size=30),
    stops=st.lists(st.sampled_from(STOPS), max_size=3),
    logprobs=st.booleans(),
)
def test_text_is_the_whole_cut_at_the_stop(
    byte_level: Tokenizer, text: str, sizes: list[int], stops: list[str], logprobs: bool
) -> None:
    ids = byte_level.encode(text)
    reply = Reply(byte_level, SamplingParams(stop=tuple(stops)))
    got = feed(reply, outputs_of(ids, sizes, logprobs=logprobs))
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    expected = text
    if ends:
        end = min(ends)
        start = min(end - len(s) for s in stops if text[:end].endswith(s))
        expected = text[:start]
    assert "".join(delta.text for delta in got) == expected
    assert got[-1].finish is (FinishReason.STOP if ends else FinishReason.LENGTH)
    if logprobs:
        scored = [item for delta in got for item in delta.scored]
        assert [item.token for item in scored] == ids[: len(scored)]
        assert not scored or scored[-1].start <= len(expected)
        assert len(scored) == len(ids) or ends


def test_the_token_that_ends_a_reply_is_no_text(byte_level: Tokenizer) -> None:
    ids = byte_level.encode("one two")
    for include in (False, True):
        params = SamplingParams(include_stop_str_in_output=include)
        reply = Reply(byte_level, params)
        got = feed(reply, outputs_of(ids, [], stop_id=ids[-1]))
        shown = ids if include else ids[:-1]
        assert "".join(delta.text for delta in got) == byte_level.decode(shown)
        assert reply.num_tokens == len(ids)
        assert got[-1].stopped == ids[-1]


def test_tokens_are_counted_up_to_the_stop_string(byte_level: Tokenizer) -> None:
    ids = byte_level.encode("a fox b c d e f")
    reply = Reply(byte_level, SamplingParams(stop=("b",)))
    feed(reply, outputs_of(ids, [len(ids)]))
    assert byte_level.decode(ids[: reply.num_tokens]).endswith("b")


def test_a_stop_string_can_be_kept(byte_level: Tokenizer) -> None:
    ids = byte_level.encode("the quick fox jumps")
    params = SamplingParams(stop=("fox",), include_stop_str_in_output=True)
    got = feed(Reply(byte_level, params), outputs_of(ids, []))
    assert "".join(delta.text for delta in got) == "the quick fox"


def test_a_stop_string_waits_for_min_tokens(byte_level: Tokenizer) -> None:
    ids = byte_level.encode("xyxyxyx")
    params = SamplingParams(stop=("y",), min_tokens=3)
    reply = Reply(byte_level, params)
    feed(reply, outputs_of(ids, []))
    assert reply.num_tokens > 3


def test_an_error_of_the_engine_is_raised(byte_level: Tokenizer) -> None:
    reply = Reply(byte_level, SamplingParams())
    with pytest.raises(EngineError, match="not finite"):
        reply.feed(Output("r", finish=FinishReason.ERROR, error="the logits are not finite"))


async def collect(stream: ListStream, reply: Reply) -> str:
    return "".join([delta.text async for delta in deltas(stream, reply)])


class ListStream:
    """Outputs that are there already."""

    def __init__(self, outputs: Sequence[Output]) -> None:
        self.outputs = outputs
        self.cancelled = False

    async def __aiter__(self) -> AsyncIterator[Output]:
        for output in self.outputs:
            yield output

    def cancel(self) -> None:
        self.cancelled = True


def test_a_stop_string_cancels_the_stream(byte_level: Tokenizer) -> None:
    import asyncio

    ids = byte_level.encode("the quick fox jumps over")
    stream = ListStream(outputs_of(ids, []))
    text = asyncio.run(collect(stream, Reply(byte_level, SamplingParams(stop=("fox",)))))
    assert text == "the quick " and stream.cancelled
