"""What the engine does when its platform fails: each fault of the fault platform, and what it comes to."""

from __future__ import annotations

import asyncio
import os
import tomllib
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from dovetail.config import EngineConfig
from dovetail.engine import engine as engine_module
from dovetail.engine import process, start_engine
from dovetail.engine.load import load_engine
from dovetail.errors import CacheLost, DeviceLost, EngineStopped, OutOfMemory, PlatformBroken
from dovetail.platform import DeviceInfo
from dovetail.plugins import GROUP, discover, select
from dovetail.request import FinishReason, Request
from dovetail.sampling import SamplingParams
from dovetail_sdk.fault import FaultPlatform
from dovetail_sdk.null import expected

from tests.waiting import Patience, in_time

VOCABULARY = 320
ROOT = Path(__file__).parents[2]
WHERE = pytest.mark.parametrize("in_process", [True, False], ids=["thread", "process"])
DEPTHS = pytest.mark.parametrize("depth", ["", "+ahead2", "+ahead3", "+strict", "+strict+ahead2"])
POINT = EntryPoint("fault", "dovetail_sdk.fault:FaultPlatform", GROUP)


def request(name: str, prompt: list[int], max_tokens: int = 20, **params) -> Request:
    sampling = SamplingParams(max_tokens=max_tokens, **{"temperature": 0.0, **params})
    return Request(id=name, prompt=prompt, sampling=sampling, max_tokens=max_tokens)


def oracle(asked: Request) -> list[int]:
    return expected(
        asked.prompt, asked.max_tokens, VOCABULARY, temperature=asked.sampling.temperature
    )


@pytest.fixture
def faulty(checkpoint):
    """An engine on a device of the fault platform."""

    def make(device: str, **settings):
        listed = [DeviceInfo(id=device, description="under test")]
        found = replace(discover([POINT])[0], devices=listed)
        settings = {"block_size": 4, "max_num_batched_tokens": 16, **settings}
        config = EngineConfig(platform=f"fault:{device}", **settings)
        return load_engine(config, checkpoint, [select(config.platform, [found])])

    return make


@pytest.fixture
def entry_points_of_this_tree(tmp_path, monkeypatch: pytest.MonkeyPatch):
    """The SDK's entry points as its pyproject.toml has them now, whatever is installed; child processes see them too."""
    project = tomllib.loads((ROOT / "plugin_sdk/pyproject.toml").read_text())["project"]
    metadata = tmp_path / "dovetail_sdk-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: dovetail-sdk\nVersion: 0.1.0\n"
    )
    lines = [f"{name} = {value}" for name, value in project["entry-points"][GROUP].items()]
    (metadata / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines]))
    monkeypatch.syspath_prepend(str(tmp_path))
    path = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path) + (os.pathsep + path if path else ""))


def run(engine, asked: list[Request]) -> tuple[dict[str, list[int]], dict[str, FinishReason]]:
    """Tokens of each request and how it ended, until there is nothing to do."""
    tokens: dict[str, list[int]] = {one.id: [] for one in asked}
    ended: dict[str, FinishReason] = {}
    for one in asked:
        engine.submit(one)
    patience = Patience("all requests have ended")
    while engine.has_work:
        patience.look()
        for output in engine.step():
            assert output.request_id not in ended
            tokens[output.request_id] += output.tokens
            if output.finish is not None:
                ended[output.request_id] = output.finish
    return tokens, ended


def some_requests() -> list[Request]:
    plain = [
        request(str(n), list(range(n + 2, n + 30)), temperature=0.7 * (n % 2)) for n in range(4)
    ]
    return [*plain, request("late", list(range(40)), repetition_penalty=1.1)]


# ------------------------------------------------------------------------------------------------------ the platform


def test_the_platform_is_found_only_when_it_is_named():
    found = discover([POINT])
    assert found[0].problem is None and found[0].platform.rank is None
    chosen = select("fault:cache-lost@5", found)
    assert str(chosen) == "fault:cache-lost@5"
    assert chosen.platform.open(chosen.devices)._faults.steps == {"cache-lost": {5}}


def test_every_listed_device_opens():
    platform = FaultPlatform()
    for device in platform.probe():
        assert platform.open([device])._faults.id == device.id
    assert FaultPlatform("raise@2+raise@9").probe()[-1].id == "raise@2+raise@9"


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("explode", "'explode' is not known; known are ahead2, .*cache-lost@STEP.*oom-compile"),
        ("cache-lost", "says no step; write cache-lost@5"),
        ("raise@0", "says no step"),
        ("slow=now", "says no seconds"),
        ("slow=-1", "says no seconds"),
    ],
)
def test_unknown_words_are_refused_with_those_that_are_known(word, says):
    with pytest.raises(PlatformBroken, match=says):
        FaultPlatform().open([DeviceInfo(id=f"ahead2+{word}", description="")])


# ---------------------------------------------------------------------------------------------------- a lost cache


@pytest.mark.defends(
    "the engine ends or hangs",
    "a device that loses its cache gets a new one, and what ran is computed again",
    without=("dovetail.engine.engine", "        self._scheduler.reset()\n", "        pass\n"),
)
@DEPTHS
@pytest.mark.parametrize("when", ["", "-sample", "-late"])
def test_a_lost_cache_changes_no_token(faulty, depth, when):
    steps = "+".join(f"cache-lost{when}@{step}" for step in (1, 2, 9, 10, 25))
    engine = faulty(steps + depth)
    asked = some_requests()
    tokens, _ = run(engine, asked)
    assert tokens == {one.id: oracle(one) for one in asked}
    engine._scheduler.check()


def test_late_sampling_that_loses_the_cache_loses_no_token_that_was_sampled(faulty):
    for step in range(1, 20):
        engine = faulty(f"cache-lost-sample@{step}+ahead2")
        asked = [request("0", [1, 2, 3], repetition_penalty=1.1), request("1", [4, 5, 6])]
        tokens, _ = run(engine, asked)
        assert tokens == {one.id: oracle(one) for one in asked}, step


def test_a_cache_that_is_lost_over_and_over_ends_the_engine(faulty):
    device = "+".join(f"cache-lost@{step}" for step in range(3, 60))
    engine = faulty(device)
    with pytest.raises(DeviceLost, match="lost 8 times .*planted: cache-lost at step 10"):
        run(engine, some_requests())
    assert engine_module.LOSSES_IN_A_ROW == 8


def test_no_room_for_a_new_cache_ends_the_engine(faulty):
    engine = faulty("cache-lost@3+oom-allocate@2")
    with pytest.raises(OutOfMemory, match="planted: .* do not fit; lower --kv-cache-memory"):
        run(engine, some_requests())


# -------------------------------------------------------------------------------------------------- failing for good


@DEPTHS
@pytest.mark.parametrize("when", ["", "-sample", "-late"])
@pytest.mark.parametrize(("word", "kind"), [("device-lost", DeviceLost), ("raise", RuntimeError)])
def test_other_errors_end_the_engine(faulty, depth, when, word, kind):
    engine = faulty(f"{word}{when}@5{depth}")
    with pytest.raises(kind, match=f"planted: {word}{when} at step 5"):
        run(engine, some_requests())
    engine.close()
    engine.close()


@pytest.mark.defends(
    "the engine ends or hangs",
    "a result of the wrong length ends the engine, before anybody gets another's tokens",
    without=("dovetail.engine.collecting", "if lengths != (rows,) * len(lengths):", "if False:"),
)
@pytest.mark.parametrize("word", ["short-result", "long-result"])
@DEPTHS
def test_results_of_the_wrong_length_are_refused(faulty, word, depth):
    engine = faulty(f"{word}@5{depth}")
    with pytest.raises(PlatformBroken, match=r"\d rows were sampled and .* returned \d ids"):
        run(engine, some_requests())


@pytest.mark.defends(
    "the engine ends or hangs",
    "a request whose numbers are not finite fails alone",
    without=(
        "dovetail.engine.engine",
        "np.flatnonzero(tokens.not_finite[:drawn])",
        "np.flatnonzero(np.repeat(tokens.not_finite[:drawn].any(), drawn))",
    ),
)
@DEPTHS
def test_rows_that_are_not_finite_fail_alone(faulty, depth):
    engine = faulty(f"not-finite@5{depth}")
    asked = some_requests()
    tokens, ended = run(engine, asked)
    failed = [name for name, finish in ended.items() if finish is FinishReason.ERROR]
    assert len(failed) == 1
    for one in asked:
        if one.id in failed:
            assert tokens[one.id] == oracle(one)[: len(tokens[one.id])]
        else:
            assert tokens[one.id] == oracle(one)
    assert engine.stats().blocks_used == 0


def test_a_slow_device_changes_no_token(faulty):
    engine = faulty("slow=0.0005+ahead2")
    asked = some_requests()
    assert run(engine, asked)[0] == {one.id: oracle(one) for one in asked}


@pytest.mark.parametrize(
    ("device", "says"),
    [
        ("oom-load", "planted: the weights .*; take a smaller model or .*--quantization"),
        ("oom-allocate@1", "planted: .* cache blocks do not fit; lower --kv-cache-memory"),
        ("oom-compile", "planted: a program .*; lower --max-num-batched-tokens"),
    ],
)
def test_out_of_memory_says_which_setting_to_change(faulty, device, says):
    with pytest.raises(OutOfMemory, match=says):
        faulty(device)


# ---------------------------------------------------------------------------------------------- behind the clients


async def tokens_of(stream) -> list[int]:
    return [token async for output in stream for token in output.tokens]


def config(device: str, **settings) -> EngineConfig:
    return EngineConfig(platform=f"fault:{device}", **settings)


@WHERE
def test_a_lost_cache_is_not_seen_by_clients(checkpoint, entry_points_of_this_tree, in_process):
    async def scenario():
        settings = config("ahead2+cache-lost-late@5")
        client = await start_engine(settings, checkpoint, in_process=in_process)
        try:
            asked = some_requests()
            streams = [await client.submit(one) for one in asked]
            found = await asyncio.gather(*(tokens_of(stream) for stream in streams))
            assert found == [oracle(one) for one in asked]
            assert client.healthy()
        finally:
            await client.close()

    asyncio.run(scenario())


@pytest.mark.defends(
    "the engine ends or hangs",
    "a device that fails ends the engine, and everybody is told why",
    without=("dovetail.engine.connected", "elif isinstance(report, Failed):", "elif False:"),
)
@WHERE
@pytest.mark.parametrize(
    ("device", "cause"),
    [
        ("device-lost@5", "DeviceLost: planted: device-lost at step 5"),
        ("ahead2+raise-late@5", "RuntimeError: planted: raise-late at step 5"),
        ("short-result@5", "PlatformBroken: 5 rows were sampled"),
    ],
)
def test_a_failed_engine_ends_every_stream_with_the_cause(
    checkpoint, entry_points_of_this_tree, in_process, device, cause
):
    async def scenario():
        client = await start_engine(config(device), checkpoint, in_process=in_process)
        streams = [await client.submit(one) for one in some_requests()]
        for stream in streams:
            with pytest.raises(EngineStopped, match=cause):
                await tokens_of(stream)
        assert not client.healthy()
        with pytest.raises(EngineStopped, match=cause):
            await client.submit(request("after", [1]))
        with pytest.raises(EngineStopped, match=cause):
            await client.stats()
        await client.close()

    in_time("every stream has ended", lambda: asyncio.run(scenario()))


@WHERE
@pytest.mark.parametrize("device", ["oom-load", "oom-allocate@1", "oom-compile"])
def test_out_of_memory_at_start_arrives_as_what_it_is(
    checkpoint, entry_points_of_this_tree, in_process, device
):
    async def scenario():
        with pytest.raises(OutOfMemory, match="planted: .*; (lower|take) .*--"):
            await start_engine(config(device), checkpoint, in_process=in_process)

    asyncio.run(scenario())


def test_an_engine_process_that_hangs_is_ended_by_close(
    checkpoint, entry_points_of_this_tree, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(process, "STOP_TIMEOUT_S", 0.1)

    async def scenario():
        client = await start_engine(config("ahead2+hang@5"), checkpoint)
        stream = await client.submit(request("0", [1, 2, 3]))
        tokens = [token for _ in range(4) for token in (await anext(aiter(stream))).tokens]
        assert tokens == oracle(request("0", [1, 2, 3]))[:4]
        await client.close()
        with pytest.raises(EngineStopped):
            await tokens_of(stream)
        assert not client.healthy()
        with pytest.raises(ProcessLookupError):
            os.kill(client.pid, 0)

    asyncio.run(scenario())


def test_cache_lost_is_an_error_of_the_contract():
    assert not issubclass(CacheLost, DeviceLost) and not issubclass(DeviceLost, CacheLost)
