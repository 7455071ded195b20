"""The markers of tests that show a defence, read from their sources: nothing is imported, all is literal.

    @pytest.mark.defends(
        "bodies and slow clients",                     # the kind: a name in kinds.py
        "a body is counted while it arrives",          # the defence, in one sentence
        without=("dovetail.server.limits", "if size > max_bytes:", "if False:"),
    )

`without` is a module, a text that stands there once, and what to put in its place: then the test fails. A list of such
edits makes them all. Markers can be stacked.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinds import KINDS

ROOT = Path(__file__).resolve().parents[2]
PLACES = (
    "tests",
    "plugin_sdk/tests",
    *(str(p.relative_to(ROOT)) for p in ROOT.glob("platforms/*/tests")),
)
MARK = "mark.defends"
QUICK = (
    "tests/cache/",
    "tests/structured/",
    "tests/text/",
    "tests/tiers/",
    "tests/engine/test_queueing.py",
)
"""Where tests start no server and no engine."""


class WrongMarker(ValueError):
    """A marker that does not have the form above; says where it stands."""


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """A text of a module that is replaced."""

    module: str
    old: str
    new: str

    def source(self) -> Path:
        """The module's file."""
        parts = self.module.split(".")
        for root in (ROOT / "core", ROOT / "plugin_sdk", *sorted(ROOT.glob("platforms/*"))):
            for path in (
                root.joinpath(*parts).with_suffix(".py"),
                root.joinpath(*parts, "__init__.py"),
            ):
                if path.exists():
                    return path
        raise WrongMarker(f"there is no module {self.module}")

    def applied(self) -> str:
        """The module's text with the edit; raises WrongMarker if there is not one place for it."""
        text = self.source().read_text(encoding="utf-8")
        if (count := text.count(self.old)) != 1:
            raise WrongMarker(f"{self.module} holds {self.old!r} {count} times and not once")
        return text.replace(self.old, self.new)


@dataclass(frozen=True, slots=True)
class Defence:
    """One marker.

    file, test  where it stands, from the root of the repository
    edits       that take the defence away
    """

    kind: str
    sentence: str
    file: str
    test: str
    edits: tuple[Edit, ...]

    @property
    def node(self) -> str:
        """As pytest names the test, parameters left out."""
        return f"{self.file}::{self.test}"

    @property
    def quick(self) -> bool:
        """Whether the test takes no time to speak of."""
        return self.file.startswith(QUICK)


def read(places: tuple[str, ...] = PLACES, root: Path = ROOT) -> list[Defence]:
    """All markers, by kind and then by place. Raises WrongMarker."""
    found: list[Defence] = []
    for place in places:
        for path in sorted((root / place).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            if MARK in text:
                found += _of_file(text, str(path.relative_to(root)))
    order = list(KINDS)
    return sorted(found, key=lambda one: order.index(one.kind))


def _of_file(text: str, file: str) -> Iterator[Defence]:
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith(MARK):
                try:
                    yield _defence(decorator, file, node.name)
                except (TypeError, ValueError) as error:
                    raise WrongMarker(f"{file}:{decorator.lineno}: {error}") from error


def _defence(call: ast.Call, file: str, test: str) -> Defence:
    kind, sentence = (ast.literal_eval(argument) for argument in call.args)
    given: dict[str, Any] = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    without = given.pop("without")
    if given or kind not in KINDS:
        raise ValueError(
            f"{kind!r} is no kind of kinds.py" if not given else f"what is {min(given)}?"
        )
    edits = tuple(Edit(*one) for one in ([without] if isinstance(without, tuple) else without))
    if not edits:
        raise ValueError("without is empty")
    return Defence(kind, sentence, file, test, edits)
