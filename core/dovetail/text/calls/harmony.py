"""Messages in channels, of gpt-oss: analysis is reasoning, final is the answer, commentary to=functions.NAME is a call.

A reply is a sequence of messages, each <|start|>HEADER<|message|>BODY and one of <|end|>, <|call|>, <|return|>; the prompt ends
after the first <|start|>assistant. The tokens that end a message also end the reply, so the last may be missing.
Source: OpenAI, harmony response format.
"""

from __future__ import annotations

import re

from .format import Format
from .lark import Lark
from .source import Markers, NoCall, Reading, Source
from .writer import Writer

START, CHANNEL, MESSAGE, CONSTRAIN = "<|start|>", "<|channel|>", "<|message|>", "<|constrain|>"
ENDS = ("<|end|>", "<|return|>", "<|call|>")
ANALYSIS = f"{CHANNEL}analysis{MESSAGE}"  # opens the reasoning
MAX_HEADER = 1024
FUNCTIONS = "functions."
_BODY_END = Markers((*ENDS, START, CHANNEL))
_MESSAGE = Markers((MESSAGE,))
_CHANNEL_NAME = re.compile(r"<\|channel\|>\s*([a-z]+)")
_RECIPIENT = re.compile(r"\bto=([^\s<]+)")


def read_harmony(source: Source, out: Writer, opened: bool = False) -> Reading[None]:
    """Read a whole reply. Opened: it begins in the body of an analysis."""
    if opened:
        marker = yield from _body(source, out, "analysis", "")
    else:
        source.mark()
        if (yield from _begins(source)):
            marker = yield from _message(source, out, "")
        else:
            out.text(source.journal())
            marker = yield from source.pass_until(_BODY_END, out.text)
    while marker:
        opening = marker if marker == CHANNEL else ""
        source.mark(opening)
        if marker in ENDS:
            yield from source.space()
            yield from source.takes(START)
        marker = yield from _message(source, out, opening)


def _begins(source: Source) -> Reading[bool]:
    """Whether a header comes, not the answer itself; white space before it is consumed."""
    yield from source.space()
    for literal in (CHANNEL, MESSAGE, START, "to="):
        if (yield from source.sees(literal)):
            return True
    return False


def _message(source: Source, out: Writer, opening: str) -> Reading[str]:
    """A header, of which `opening` is read, and its body; returns what ended it."""
    if not (yield from source.more()):
        source.settle()
        return ""
    try:
        header, _ = yield from source.read_until(_MESSAGE, most=MAX_HEADER)
    except NoCall:  # no header: nothing of it is lost
        out.text(source.journal())
        return (yield from source.pass_until(_BODY_END, out.text))
    source.settle()
    found = _CHANNEL_NAME.search(opening + header)
    recipient = _RECIPIENT.search(header)
    return (
        yield from _body(
            source, out, found[1] if found else "final", recipient[1] if recipient else ""
        )
    )


def _body(source: Source, out: Writer, channel: str, recipient: str) -> Reading[str]:
    name = recipient.removeprefix(FUNCTIONS)
    if name and out.tools and (recipient != name or name in out.tools):
        return (yield from _call(source, out, name))
    if channel != "analysis":
        out.answer()
        return (yield from source.pass_until(_BODY_END, out.text))
    out.think()
    marker = yield from source.pass_until(_BODY_END, out.reasoning)
    if marker:
        out.answer()
    return marker


def _call(source: Source, out: Writer, name: str) -> Reading[str]:
    out.start(name)
    empty = True

    def emit(text: str) -> None:
        nonlocal empty
        empty = empty and not text.strip()
        out.arguments(text)

    marker = yield from source.pass_until(_BODY_END, emit)
    if empty and marker:
        out.arguments("{}")
    out.end()
    return marker


def _read(source: Source, out: Writer, opening: str) -> Reading[None]:
    """Calls are read with the channels, never by themselves."""
    raise NoCall
    yield


def _grammar(lark: Lark) -> str:
    return lark.named_call(f"{CHANNEL}commentary to={FUNCTIONS}", f" {CONSTRAIN}json{MESSAGE}", "")


GPT_OSS = Format(
    name="gpt_oss",
    read=_read,
    grammar=_grammar,
    keep=(START, CHANNEL, MESSAGE, CONSTRAIN, *ENDS),
    whole=True,
)
