"""What is remembered of grammars that were checked: so much, whatever is asked."""

from __future__ import annotations

import pytest
from dovetail.structured import Grammar
from dovetail.structured.check import MAX_REMEMBERED, MAX_REMEMBERED_BYTES, GrammarCheck


@pytest.mark.defends(
    "many grammars",
    "of grammars that were checked so many bytes are remembered, in memory alone; the least recently used go",
    without=(
        "dovetail.structured.check",
        "while len(self._known) > MAX_REMEMBERED or self._bytes > MAX_REMEMBERED_BYTES:",
        "while False:",
    ),
)
@pytest.mark.parametrize("length", [10, MAX_REMEMBERED_BYTES // 20])
def test_what_is_remembered_of_grammars_is_bounded(length: int) -> None:
    check = GrammarCheck(None, 0)  # type: ignore[arg-type]  # nothing is compiled
    first, often = Grammar("regex", "a" * length), Grammar("regex", "b" * length)
    check._remember(first, None)
    check._remember(often, None)
    for number in range(MAX_REMEMBERED if length == 10 else 25):
        check._known.move_to_end(often)
        check._remember(Grammar("regex", f"{number:05}" + "c" * (length - 5)), None)
        assert len(check._known) <= MAX_REMEMBERED
    assert check._bytes == sum(len(g.text) for g in check._known) <= MAX_REMEMBERED_BYTES
    assert first not in check._known and often in check._known
