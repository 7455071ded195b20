"""Reasoning that stands between tags, before the answer: <think> of DeepSeek-R1, Qwen3 and GLM, [THINK] of Mistral, Granite's.

The opening tag is written by the model, or by the chat template at the end of the prompt: then the reply begins within.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

from .source import Markers, Reading, Source
from .writer import Writer


@dataclass(frozen=True, slots=True)
class Tags:
    """How one family writes its reasoning.

    opening, closing  the forms of the tags
    wraps             tags around the answer that follows, which belong to neither
    assumed           the reply begins within the reasoning unless the prompt has closed it
    channels          the reply consists of messages in channels, which harmony.py reads
    """

    name: str
    opening: tuple[str, ...]
    closing: tuple[str, ...]
    wraps: tuple[str, ...] = ()
    assumed: bool = False
    channels: bool = False
    _closed: Markers = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_closed", Markers(self.closing))

    @property
    def keep(self) -> tuple[str, ...]:
        """Tags that must stay in the text where they are special tokens."""
        return (*self.opening, *self.closing, *self.wraps)

    def opened_by(self, prompt: str) -> bool:
        """Whether a reply to this prompt begins within the reasoning."""
        end = prompt.rstrip()
        if end.endswith(self.opening):
            return True
        return self.assumed and not end.endswith((*self.closing, *self.wraps))

    def read(self, source: Source, out: Writer, opened: bool) -> Reading[bool]:
        """Read the reasoning up to where the answer begins; whether there was any."""
        if opened:
            out.think()
            yield from self._any(source, self.opening)  # some models write it again
        elif not (yield from self._begins(source, out)):
            return False
        out.is_reasoning = True
        yield from source.pass_until(self._closed, out.reasoning)
        out.answer()
        return True

    def _begins(self, source: Source, out: Writer) -> Generator[None, None, bool]:
        """Whether the model opens its reasoning; white space before it stays if it does not."""
        source.mark()
        yield from source.space()
        if (yield from self._any(source, self.opening)):
            source.settle()
            out.think()
            return True
        out.text(source.journal())
        return False

    def _any(self, source: Source, literals: tuple[str, ...]) -> Generator[None, None, bool]:
        for literal in literals:
            if (yield from source.takes(literal)):
                return True
        return False


THINK = Tags("think", ("<think>",), ("</think>",))
DEEPSEEK_R1 = Tags("deepseek_r1", ("<think>",), ("</think>",), assumed=True)
MISTRAL = Tags("mistral", ("[THINK]",), ("[/THINK]",))
GRANITE = Tags(
    "granite",
    ("<think>", "Here is my thought process:", "Here's my thought process:"),
    ("</think>", "Here is my response:", "Here's my response:"),
    wraps=("<response>", "</response>"),
)
ANALYSIS = Tags(
    "gpt_oss",
    ("<|channel|>analysis<|message|>",),
    ("<|end|>",),
    wraps=("<|start|>", "<|channel|>", "<|message|>", "<|constrain|>", "<|return|>", "<|call|>"),
    channels=True,
)
