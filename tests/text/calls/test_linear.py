"""The work grows with the text and no faster: counted in lines of Python run and characters copied, not in time."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest
from dovetail.text.calls.reader import Reader
from dovetail.text.calls.source import Source
from dovetail.text.calls.table import CALL_FORMATS, REASONING_FORMATS

from .vectors import SAVE, VECTORS, feed, reader_of

WORDS = "<tool_call {[(\"'\\ functools <｜tool▁ [TOOL <|channel <arg_ <escape <think </param "


def long_replies(form: str, length: int) -> dict[str, str]:
    """Text that nearly is a call, one call with a long argument, many calls, white space, and openings without end."""
    opening = (*CALL_FORMATS[form].opening, "<|channel|>")[0]
    reply = next(r for f, r, _, calls in VECTORS if f == form and calls[-1] == SAVE)
    words = WORDS.replace('"', "").replace("\\", "").replace("'", "").replace("</param", "")
    argument = reply.replace("and", words.replace("<escape", "").strip() * (length // 80), 1)
    return {
        "text": WORDS * (length // len(WORDS)),
        "argument": argument,
        "calls": reply * (length // len(reply)),
        "space": " \n" * (length // 2),
        "openings": opening * (length // len(opening)),
        "opened": opening + '{"name": ' * (length // 9),
        "quotes": opening + '{"name": "now", "arguments": {"' + '\\"' * (length // 2),
    }


def work(form: str, reply: str, sizes: list[int], monkeypatch: pytest.MonkeyPatch) -> float:
    """Lines run and characters copied, per character."""
    count = 0
    add = Source.add

    def counted(self: Source, text: str) -> None:
        nonlocal count
        add(self, text)
        count += len(self.text)

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    monkeypatch.setattr(Source, "add", counted)
    reader = reader_of(form)
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        feed(reader, reply, sizes)
    finally:
        sys.settrace(before)
        monkeypatch.undo()
    return count / len(reply)


@pytest.mark.parametrize("form", CALL_FORMATS)
def test_six_times_the_text_is_six_times_the_work(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, long = long_replies(form, 1_500), long_replies(form, 9_000)
    for name in short:
        for sizes in ([4], [1 << 20]):
            few = work(form, short[name], sizes, monkeypatch)
            many = work(form, long[name], sizes, monkeypatch)
            assert many < 1.25 * few + 1, (name, sizes, few, many)


def test_reasoning_is_read_in_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def of(length: int) -> int:
        reader = Reader(reasoning=REASONING_FORMATS["granite"], opened=True)
        steps = 0
        for _ in range(length):
            reader.push("Here is </thin ")
            steps += len(reader._source.text)
        return steps

    assert of(5000) == 10 * of(500)
