"""When an engine process is started again: at once if it was of use, after longer and longer pauses if not, and not for ever."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from dovetail.config import EngineConfig
from dovetail.engine import supervised
from dovetail.errors import CheckpointError, EngineStopped
from dovetail.request import Request
from dovetail.sampling import SamplingParams


class Life:
    """A process that has ended already; it has delivered something or not."""

    def __init__(self, delivered: bool) -> None:
        self.info = SimpleNamespace(whole=False, max_model_len=64)
        self.platform, self.status, self.delivered = "null:0", -9, delivered

    def healthy(self) -> bool:
        return False

    async def kill(self, reason: str) -> None:
        pass

    async def wait_lost(self, seconds: float) -> None:
        pass

    close = kill


def lived(
    monkeypatch: pytest.MonkeyPatch,
    lives: list[bool | None],
    *,
    most: int,
    then: Exception | None = None,
) -> tuple[list[float], supervised.SupervisedClient]:
    """The pauses before each life, until no further one is started.

    lives  whether each delivered anything; None: it ended while it was started
    then   raised by a start too many
    """
    pauses: list[float] = []
    left = [None if delivered is None else Life(delivered) for delivered in lives]

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async def start(config: EngineConfig) -> Any:
        if not left and then is not None:
            raise then
        if (life := left.pop(0)) is None:
            raise EngineStopped("the engine process ended")
        return life

    async def run() -> supervised.SupervisedClient:
        monkeypatch.setattr(asyncio, "sleep", pause)
        config = EngineConfig(max_restarts=most)
        client = supervised.SupervisedClient(left.pop(0), config, start)  # type: ignore[arg-type]
        await client._watching
        assert client.ended() and not client.healthy()
        with pytest.raises(EngineStopped, match="started again"):
            await client.submit(
                Request(id="a", prompt=[1], sampling=SamplingParams(), max_tokens=1)
            )
        return client

    return pauses, asyncio.run(run())


@pytest.mark.defends(
    "the engine ends or hangs",
    "engines that do nothing for anybody are started again after longer and longer pauses",
    without=(
        "dovetail.engine.supervised",
        "pause_s = min(LONGEST_PAUSE_S, 2.0 ** (self._fruitless - 1)) if self._fruitless else 0.0",
        "pause_s = 0.0",
    ),
)
def test_lives_that_deliver_nothing_are_followed_after_longer_pauses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses, client = lived(monkeypatch, [True] + [False] * 8, most=7)
    assert pauses == [0, 1, 2, 4, 8, 16, 30, 30] and client.restarts == 8


@pytest.mark.defends(
    "the engine ends or hangs",
    "an engine that is of use now and then is started again for ever",
    without=(
        "dovetail.engine.supervised",
        "self._fruitless = 0 if dead.delivered else self._fruitless + 1",
        "self._fruitless += 1",
    ),
)
def test_a_life_that_delivered_begins_the_count_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses, client = lived(
        monkeypatch, [False, False, True, False, False, True, False, False, False], most=2
    )
    assert pauses == [1, 2, 0, 1, 2, 0, 1, 2] and client.restarts == 8


@pytest.mark.defends(
    "the engine ends or hangs",
    "an engine that is killed while it is started again is started once more",
    without=("dovetail.engine.supervised", "except EngineStopped:", "except ZeroDivisionError:"),
)
def test_a_life_that_ends_while_it_is_started_is_one_in_vain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses, client = lived(monkeypatch, [True, None, None, True, None, None, None], most=2)
    assert pauses == [0, 1, 2, 0, 1, 2] and client.restarts == 1


@pytest.mark.defends(
    "the engine ends or hangs",
    "a mistake while an engine is started again ends the server instead of leaving it without one",
    without=(
        "dovetail.engine.supervised",
        'self._end(f"the watch over the engine failed: {error!r}, and it is not started again")',
        "pass",
    ),
)
def test_a_mistake_of_the_watch_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    _, client = lived(monkeypatch, [True, True], most=5, then=ZeroDivisionError("a mistake"))
    assert "a mistake" in str(client._ended)


def test_an_engine_that_cannot_be_loaded_again_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = CheckpointError("the file is gone")
    pauses, client = lived(monkeypatch, [True, True], most=5, then=error)
    assert pauses == [0, 0] and client.restarts == 1
    assert "the file is gone" in str(client._ended)
