"""Arguments that a format writes one by one -> one JSON object, written as they come."""

from __future__ import annotations

from .jsontext import quoted
from .source import Markers, NoCall, Reading, Source
from .typed import is_text, schema_of, to_json, types_of
from .writer import Writer


class Arguments:
    """The arguments of one call, by name.

    A string is passed on as it comes; what must be converted waits for its end. If the text breaks off, so does the object.
    """

    def __init__(self, out: Writer, tool: str) -> None:
        self._out = out
        self._parameters = out.tools.get(tool, {})
        self._count = 0

    def add(self, name: str, json_text: str) -> None:
        """One that is JSON already."""
        self._key(name)
        self._out.arguments(json_text)

    def read(
        self,
        source: Source,
        name: str,
        end: Markers,
        *,
        lines: bool = False,
        string: bool = False,
    ) -> Reading[str]:
        """One that stands as text up to one of the markers, which is returned. Raises NoCall if none comes.

        lines   a line end after its start and one before its end are not part of it
        string  it is meant as a string, where that is allowed

        What the text breaks off in is left open, so that nobody takes it for the whole.
        """
        schema, root = schema_of(self._parameters, name)
        if lines and not (yield from source.takes("\n")):
            yield from source.takes("\r\n")
        self._key(name)
        if not is_text(schema, root) and not (string and "string" in types_of(schema, root)):
            parts: list[str] = []
            marker = yield from source.pass_until(end, parts.append)
            text = "".join(parts)
            if not marker:
                raise NoCall
            self._out.arguments(to_json(text.removesuffix("\n") if lines else text, schema, root))
            return marker
        held = ""

        def emit(text: str) -> None:
            nonlocal held
            text = held + text
            held = "\n" if lines and text.endswith("\n") else ""
            self._out.arguments(quoted(text.removesuffix(held))[1:-1])

        self._out.arguments('"')
        marker = yield from source.pass_until(end, emit)
        if not marker:
            raise NoCall
        self._out.arguments('"')
        return marker

    def close(self) -> None:
        """All are there."""
        self._out.arguments("}" if self._count else "{}")

    def _key(self, name: str) -> None:
        self._out.arguments(("{" if not self._count else ", ") + quoted(name) + ": ")
        self._count += 1
