"""A request can be ended wherever it is: within one step it is over, and nothing of it is left."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dovetail.engine.engine import Engine
from dovetail.engine.masks import Masks
from dovetail.request import FinishReason, Output
from dovetail.structured import Grammar
from dovetail.tiers.disk import DiskTier

from tests.waiting import Patience, until

from .test_engine import request, run

ENDLESS = 400
PROMPT = list(range(2, 100))
BLOCK_BYTES = 4 * 3 * 2 * 2 * 32 * 4


@dataclass
class Place:
    """Where a request may be when it is ended: an engine in which the request "a" is there.

    held  what keeps it there, if something does; set to let it go
    """

    engine: Engine
    held: threading.Event | None = None


def steps(engine: Engine, count: int) -> None:
    for _ in range(count):
        engine.step()


def in_the_line(make: Callable[..., Engine], *_: Any) -> Place:
    engine = make(max_num_seqs=1)
    engine.submit(request("other", [1], ENDLESS))
    engine.submit(request("a", PROMPT, 10))
    steps(engine, 3)
    assert engine.stats().waiting == 1
    return Place(engine)


def in_its_prompt(make: Callable[..., Engine], *_: Any) -> Place:
    engine = make("strict3", max_num_batched_tokens=8)
    engine.submit(request("a", PROMPT, 10, prompt_logprobs=1))
    steps(engine, 5)
    assert engine._scheduler.roster.by_id["a"].num_output == 0
    return Place(engine)


def in_its_output(make: Callable[..., Engine], *_: Any) -> Place:
    engine = make("strict3")
    engine.submit(request("a", PROMPT, ENDLESS, repetition_penalty=1.2))
    steps(engine, 9)
    assert engine._scheduler.roster.by_id["a"].num_output > 0
    return Place(engine)


def preempted(make: Callable[..., Engine], *_: Any) -> Place:
    engine = make("strict2", num_blocks=40, max_model_len=150, max_num_seqs=2)
    engine.submit(request("other", PROMPT[:60], 80))
    engine.submit(request("a", PROMPT[::-1][:60], 80))
    patience = Patience("a request was preempted")
    while not engine.stats().total_preemptions:
        patience.look()
        engine.step()
    assert engine._scheduler.roster.by_id["a"].num_output > 0 and engine.stats().waiting == 1
    return Place(engine)


def at_the_compiler(make: Callable[..., Engine], patch: pytest.MonkeyPatch, _: Path) -> Place:
    held = threading.Event()
    patch.setattr(Masks, "_compile", lambda *_: held.wait())
    engine = make("strict")
    engine.submit(request("a", PROMPT, 10, grammar=Grammar("regex", "a")))
    steps(engine, 2)
    assert engine._masks.compiling_ids == ["a"]
    return Place(engine, held)


def at_the_disk(make: Callable[..., Engine], patch: pytest.MonkeyPatch, directory: Path) -> Place:
    given = {"max_model_len": 250, "kv_cache_disk": (str(directory / "kv"), 1 << 24)}
    engine = make(**given)
    run(engine, [request("before", PROMPT, 2)])
    engine.close()
    held = threading.Event()
    patch.setattr(DiskTier, "read", lambda *_: held.wait() and None)
    engine = make(**given)
    until("the directory is read", lambda: engine.stats().blocks_disk)
    engine.submit(request("a", PROMPT, 10))
    assert engine._restoring.ids == ["a"]
    return Place(engine, held)


PLACES = {
    function.__name__: function
    for function in (in_the_line, in_its_prompt, in_its_output, preempted, at_the_compiler, at_the_disk)
}  # fmt: skip


@pytest.fixture(params=PLACES)
def place(
    request: pytest.FixtureRequest,
    null_engine: Callable[..., Engine],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[Place]:
    made = PLACES[request.param](null_engine, monkeypatch, tmp_path)
    yield made
    if made.held is not None:
        made.held.set()
    made.engine.close()


def ended(outputs: list[Output], name: str) -> bool:
    return any(o.request_id == name and o.finish is FinishReason.CANCELLED for o in outputs)


@pytest.mark.defends(
    "a client leaves",
    "the engine remembers nothing of it",
    without=(
        "dovetail.engine.engine",
        "        self._ready.append(output)\n        self._forget(output.request_id)",
        "        self._ready.append(output)",
    ),
)
@pytest.mark.defends(
    "a client leaves",
    "its blocks are free once the steps in flight are done",
    without=(
        "dovetail.scheduler.residency",
        "self.cache.release(sequence.blocks, after=last_step)",
        "self.cache.release(sequence.blocks, after=1 << 40)",
    ),
)
@pytest.mark.defends(
    "a client leaves",
    "a request whose prompt is read from disk is over at once",
    without=("dovetail.engine.engine", "or self._restoring.abandon(request_id)\n", ""),
)
@pytest.mark.defends(
    "a client leaves",
    "a request whose grammar is compiled is over at once",
    without=("dovetail.engine.engine", "self._masks.abandon(request_id)\n            or ", ""),
)
@pytest.mark.defends(
    "a client leaves",
    "in the engine its request is over within one step, wherever it is: in the line, in its prompt or output, preempted",
    without=("dovetail.engine.engine", "or self._scheduler.cancel(request_id)", "or False"),
)
def test_a_request_is_over_within_a_step_wherever_it_is(place: Place) -> None:
    engine = place.engine
    engine.cancel("a")
    assert ended(engine.step(), "a")
    assert engine.stats().waiting == 0
    for left in kept_of(engine):
        assert "a" not in left
    engine.cancel_all()
    while engine.has_work:
        assert not any(output.request_id == "a" for output in engine.step())
    assert engine.stats().blocks_used == 0
    engine._scheduler.check()


def kept_of(engine: Engine) -> list[Any]:
    """All that the engine knows requests by."""
    return [
        engine._scheduler.roster.by_id,
        engine._edits,
        engine._masks._followers,
        engine._masks._fixed,
        engine._masks.compiling_ids,
        engine._restoring.ids,
        engine._scores._by_request,
        engine._choosers._by_request,
        engine._waits._since,
        engine._waits._waited_us,
    ]
