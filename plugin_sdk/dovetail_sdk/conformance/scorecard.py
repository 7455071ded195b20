"""What a run found: outcomes, their count per layer, and the support matrix."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .check import LAYERS, Cell, Outcome

COLUMNS = (
    "op",
    "dtype",
    "weight_form",
    "cache_form",
    "result",
    "passed",
    "unsupported",
    "failed",
    "reason",
)


@dataclass(frozen=True, slots=True)
class Support:
    """A row of the support matrix: what the checks of one cell found.

    result  "failed" if any failed, "ok" if any passed, else "unsupported"
    passed, unsupported, failed  numbers of checks
    reason  the first reason of a failure, else of what is unsupported
    """

    cell: Cell
    passed: int
    unsupported: int
    failed: int
    reason: str

    @property
    def result(self) -> str:
        """One word."""
        if self.failed:
            return "failed"
        return "ok" if self.passed else "unsupported"

    def fields(self) -> tuple[str, ...]:
        """In the order of COLUMNS."""
        cell = self.cell
        forms = (cell.op, cell.dtype, cell.weight_form, cell.cache_form)
        counts = (str(count) for count in (self.passed, self.unsupported, self.failed))
        return (*forms, self.result, *counts, self.reason)


@dataclass(slots=True)
class Scorecard:
    """Outcomes of a run on one platform."""

    platform: str
    description: str = ""
    emulated: bool = False
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing failed and something passed."""
        return not self.failures and any(o.status == "passed" for o in self.outcomes)

    @property
    def failures(self) -> list[Outcome]:
        """What failed."""
        return [outcome for outcome in self.outcomes if outcome.status == "failed"]

    @property
    def cases(self) -> int:
        """Comparisons that passed."""
        return sum(outcome.cases for outcome in self.outcomes if outcome.status == "passed")

    @property
    def title(self) -> str:
        """One line: what was tested, and whether on an emulator."""
        note = " [EMULATED]" if self.emulated else ""
        return f"conformance of {self.platform}{note} ({self.description})"

    def layers(self) -> Iterator[tuple[str, Counter[str], int, float]]:
        """Layer, checks by status, cases that passed, seconds."""
        for layer in LAYERS:
            mine = [outcome for outcome in self.outcomes if outcome.check.layer == layer]
            if mine:
                cases = sum(o.cases for o in mine if o.status == "passed")
                yield layer, Counter(o.status for o in mine), cases, sum(o.seconds for o in mine)

    def support(self) -> list[Support]:
        """The support matrix, in the order of the checks."""
        cells: dict[Cell, list[Outcome]] = {}
        for outcome in self.outcomes:
            if outcome.check.cell is not None:
                cells.setdefault(outcome.check.cell, []).append(outcome)
        return [_support(cell, outcomes) for cell, outcomes in cells.items()]

    def text(self) -> str:
        """For people."""
        lines = [self.title, ""]
        lines.append(
            f"{'layer':<10}{'passed':>8}{'failed':>8}{'unsupported':>13}{'cases':>8}{'seconds':>9}"
        )
        for layer, counts, cases, seconds in self.layers():
            lines.append(
                f"{layer:<10}{counts['passed']:>8}{counts['failed']:>8}{counts['unsupported']:>13}"
                f"{cases:>8}{seconds:>9.1f}"
            )
        for outcome in self.failures:
            lines += ["", f"FAILED {outcome.check}", f"  {outcome.reason}"]
        lines += ["", *_matrix(self.support()), *_reasons(self.outcomes)]
        verdict = "passed" if self.ok else f"FAILED ({len(self.failures)} checks)"
        note = ", emulated" if self.emulated else ""
        lines += ["", f"{self.platform}{note}: {verdict}, {self.cases} cases"]
        return "\n".join(lines)

    def csv(self) -> str:
        """The support matrix as CSV; a comment in front says if it was emulated."""
        out = io.StringIO()
        if self.emulated:
            out.write("# emulated\n")
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(row.fields() for row in self.support())
        return out.getvalue()

    def json(self) -> str:
        """Everything."""
        layers = {
            layer: {**counts, "cases": cases, "seconds": round(seconds, 3)}
            for layer, counts, cases, seconds in self.layers()
        }
        found: dict[str, Any] = {
            "platform": self.platform,
            "description": self.description,
            "emulated": self.emulated,
            "ok": self.ok,
            "cases": self.cases,
            "layers": layers,
            "checks": [
                {
                    "layer": o.check.layer,
                    "name": o.check.name,
                    "status": o.status,
                    "cases": o.cases,
                    "reason": o.reason,
                }
                for o in self.outcomes
            ],
            "support": [dict(zip(COLUMNS, row.fields(), strict=True)) for row in self.support()],
        }
        return json.dumps(found, indent=1)


def _support(cell: Cell, outcomes: list[Outcome]) -> Support:
    counts = Counter(outcome.status for outcome in outcomes)
    worst = "failed" if counts["failed"] else "unsupported"
    reasons = [outcome.reason for outcome in outcomes if outcome.status == worst]
    reason = " ".join(reasons[0].split()) if reasons else ""
    return Support(cell, counts["passed"], counts["unsupported"], counts["failed"], reason)


def _matrix(rows: list[Support]) -> Iterator[str]:
    """Op by form: + ok, ~ partly, - unsupported, X failed."""
    forms = list(dict.fromkeys(_form(row.cell) for row in rows))
    ops = list(dict.fromkeys(row.cell.op for row in rows))
    plain = [form for form in forms if "/" not in form]
    if not rows:
        return
    yield "support: + runs, ~ some cases, - unsupported, X failed"
    marks = {(row.cell.op, _form(row.cell)): _mark(row) for row in rows}
    yield f"  {'op':<24}{' '.join(plain)}"
    for op in ops:
        cells = [marks.get((op, form), " ").center(len(form)) for form in plain]
        if any(cell.strip() for cell in cells):
            yield f"  {op:<24}{' '.join(cells)}"
    for op in ops:
        formed = [(form, marks[op, form]) for form in forms if "/" in form and (op, form) in marks]
        for mark, word in (
            ("X", "failed"),
            ("+", "runs"),
            ("~", "some cases"),
            ("-", "unsupported"),
        ):
            if some := [form for form, found in formed if found == mark]:
                yield f"  {op:<24}{word}: {' '.join(some)}"


def _form(cell: Cell) -> str:
    extra = cell.weight_form or (cell.cache_form and f"cache-{cell.cache_form}")
    return f"{cell.dtype}/{extra}" if extra else cell.dtype


def _mark(row: Support) -> str:
    if row.failed:
        return "X"
    if not row.passed:
        return "-"
    return "~" if row.unsupported else "+"


def _reasons(outcomes: list[Outcome]) -> Iterator[str]:
    reasons = Counter(o.reason for o in outcomes if o.status == "unsupported")
    if reasons:
        yield ""
        yield "unsupported, by reason:"
    for reason, count in reasons.most_common():
        yield f"  {count:>5}  {' '.join(reason.split())}"
