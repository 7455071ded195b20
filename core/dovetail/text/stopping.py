"""Stop strings in text that comes in pieces."""

from __future__ import annotations

from collections.abc import Sequence

from dovetail.errors import InvalidParameter
from dovetail.sampling import MAX_STOP

MAX_STOP_LENGTH = 1024


class StopMatcher:
    """Passes text on until a stop string is complete; holds back only what may be the beginning of one.

    The stop string that is completed first ends the text, the longest of those that end together.

    matched  the stop string that ended the text, None while there is none
    """

    __slots__ = ("_held", "_keep", "_stops", "matched")

    def __init__(self, stops: Sequence[str], *, keep: bool = False) -> None:
        """Keep: the stop string itself is passed on too."""
        if len(stops) > MAX_STOP:
            raise InvalidParameter(
                f"stop has {len(stops)} strings; at most {MAX_STOP} are allowed", param="stop"
            )
        for stop in stops:
            if not 0 < len(stop) <= MAX_STOP_LENGTH:
                raise InvalidParameter(
                    f"a stop string has {len(stop)} characters; it must have 1 to {MAX_STOP_LENGTH}",
                    param="stop",
                )
        self._stops = tuple(stops)
        self._keep = keep
        self._held = ""
        self.matched: str | None = None

    def push(self, text: str) -> str:
        """The text that is certain now; nothing any more after a match."""
        if self.matched is not None or not text:
            return ""
        text = self._held + text
        if found := self._first(text):
            start, self.matched = found
            self._held = ""
            return text[: start + (len(self.matched) if self._keep else 0)]
        cut = len(text) - self._possible(text)
        self._held = text[cut:]
        return text[:cut]

    def flush(self) -> str:
        """What was held back, once no more text comes."""
        text, self._held = self._held, ""
        return text

    def _first(self, text: str) -> tuple[int, str] | None:
        """Start and string of the match that ends first."""
        best: tuple[int, int, str] | None = None
        for stop in self._stops:
            start = text.find(stop)
            if start >= 0 and (best is None or (start + len(stop), start) < best[:2]):
                best = (start + len(stop), start, stop)
        return best and (best[1], best[2])

    def _possible(self, text: str) -> int:
        """Length of the longest end of the text that begins a stop string."""
        longest = 0
        for stop in self._stops:
            start = max(0, len(text) - len(stop) + 1)
            while (start := text.find(stop[0], start)) >= 0 and len(text) - start > longest:
                if stop.startswith(text[start:]):
                    longest = len(text) - start
                    break
                start += 1
        return longest
