"""The checks, and running them: what the three front ends share."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from importlib import import_module

from dovetail.platform import Platform

from .check import LAYERS, Check, Failed, Outcome, Unsupported
from .context import Context
from .scorecard import Scorecard, Support


def checks(layers: Collection[str] | None = None, ops: str | None = None) -> Iterator[Check]:
    """All checks, always the same ones in the same order.

    layers  only those; ValueError for one that there is not
    ops     a regular expression: of the checks about an op, only those of ops in which it is found
    """
    if unknown := sorted(set(layers or ()) - set(LAYERS)):
        raise ValueError(f"no layer {', '.join(unknown)}; there are {', '.join(LAYERS)}")
    pattern = re.compile(ops) if ops else None
    for layer in LAYERS:
        if layers is None or layer in layers:
            for check in import_module(f".layers.{layer}", __package__).checks():
                if wanted(check, pattern):
                    yield check


def wanted(check: Check, ops: re.Pattern[str] | None) -> bool:
    """Whether --ops leaves a check in; it leaves out every check that is not about an op."""
    return ops is None or (check.cell is not None and ops.search(check.cell.op) is not None)


def run_check(check: Check, context: Context) -> Outcome:
    """Run one; whatever a plugin raises is a failure of the check."""
    started = time.perf_counter()
    try:
        cases = check.run(context)
    except Unsupported as refusal:
        seconds = time.perf_counter() - started
        return Outcome(check, "unsupported", reason=str(refusal), seconds=seconds)
    except Failed as fault:
        return Outcome(check, "failed", reason=str(fault), seconds=time.perf_counter() - started)
    except Exception as error:
        reason = f"{type(error).__name__}: {error} ({_where(error)})"
        return Outcome(check, "failed", reason=reason, seconds=time.perf_counter() - started)
    return Outcome(
        check, "passed", 1 if cases is None else cases, "", time.perf_counter() - started
    )


def run(
    platform: Platform,
    *,
    layers: Collection[str] | None = None,
    ops: str | None = None,
    ids: Sequence[str] | None = None,
    spec: str | None = None,
    emulated: bool = False,
    cases: str | None = None,
    stop_at_failure: bool = False,
    tell: Callable[[Outcome], None] | None = None,
) -> Scorecard:
    """Run checks on a platform, which need not be installed.

    layers, ops      as in `checks`
    ids              devices to open; the first usable one if None
    spec             what --platform takes, for the serving layer; None where it is not installed
    cases            a regular expression: only checks whose name it is found in
    stop_at_failure  for planted faults, of which one sign is enough
    tell             called with every outcome
    """
    context = Context(platform, ids=ids, spec=spec, emulated=emulated)
    card = Scorecard(platform.name)
    try:
        for check in checks(layers, ops):
            if cases is not None and not re.search(cases, str(check)):
                continue
            outcome = run_check(check, context)
            card.outcomes.append(outcome)
            if tell is not None:
                tell(outcome)
            if stop_at_failure and outcome.status == "failed":
                break
        describe(card, context)
    finally:
        context.close()
    return card


def support(context: Context) -> list[Support]:
    """The support matrix by what the device says alone, without ops of a plugin's own; nothing is computed."""
    context.dry = True
    card = Scorecard(context.platform.name)
    for check in checks(["ops"]):
        if check.cell is not None and "." not in check.cell.op:
            card.outcomes.append(run_check(check, context))
    return card.support()


def describe(card: Scorecard, context: Context) -> None:
    """Say in the scorecard what was tested."""
    try:
        card.description, card.emulated = context.description, context.emulated
    except Exception as error:  # the checks have said so already
        card.description = f"no device: {error}"


def _where(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno}" if frames else "nowhere"
