"""The engine behind its clients: on a thread and in a process of its own, they behave alike."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
import uvloop
from dovetail.config import EngineConfig
from dovetail.engine import process, start_engine
from dovetail.errors import ConfigError, EngineStopped, Overloaded, PlatformNotFound, PromptTooLong
from dovetail.request import FinishReason, Request
from dovetail.sampling import SamplingParams
from dovetail_sdk.null import expected

from tests.waiting import Patience, exit_status, in_time

WHERE = pytest.mark.parametrize("in_process", [True, False], ids=["thread", "process"])
FOREVER = 100_000


def request(name: str, prompt: list[int], max_tokens: int) -> Request:
    sampling = SamplingParams(max_tokens=max_tokens, temperature=0)
    return Request(id=name, prompt=prompt, sampling=sampling, max_tokens=max_tokens)


def config(**settings) -> EngineConfig:
    return EngineConfig(platform="null:ahead2", **settings)


async def tokens_of(stream) -> tuple[list[int], FinishReason | None]:
    tokens, finish = [], None
    async for output in stream:
        tokens += output.tokens
        finish = output.finish
    return tokens, finish


async def until(what, happened) -> None:
    patience = Patience(what)
    while not await happened():
        patience.look()
        await asyncio.sleep(0)


@WHERE
def test_streams_deliver_what_each_request_determines(checkpoint, in_process):
    async def scenario():
        client = await start_engine(config(max_num_seqs=4), checkpoint, in_process=in_process)
        try:
            asked = [request(str(n), [n + 1, n + 2, n + 3], 20) for n in range(10)]
            streams = [await client.submit(one) for one in asked]
            found = await asyncio.gather(*(tokens_of(stream) for stream in streams))
            for one, (tokens, finish) in zip(asked, found, strict=True):
                assert tokens == expected(one.prompt, 20, 320)
                assert finish is FinishReason.LENGTH
            stats = await client.stats()
            assert stats.total_generated_tokens == 200 and stats.running == 0
        finally:
            await client.close()
        assert not client.healthy()
        with pytest.raises(EngineStopped):
            await client.submit(request("late", [1], 1))

    asyncio.run(scenario())


@pytest.fixture(scope="module")
def endless(tmp_path_factory):
    """A checkpoint whose context no test reaches the end of."""
    from dovetail.weights.checkpoint import open_checkpoint
    from dovetail_sdk.testing import write_checkpoint

    directory = tmp_path_factory.mktemp("endless")
    return open_checkpoint(str(write_checkpoint(directory, max_position_embeddings=2 * FOREVER)))


@WHERE
def test_cancelling_ends_a_request_and_frees_its_blocks(endless, in_process):
    async def scenario():
        client = await start_engine(config(kv_cache_memory=1 << 30), endless, in_process=in_process)
        try:
            stream = await client.submit(request("a", [1, 2], FOREVER))
            tokens, finish = [], None
            async for output in stream:
                tokens += output.tokens
                finish = output.finish
                if len(tokens) >= 5:
                    stream.cancel()
            assert finish is FinishReason.CANCELLED
            assert tokens == expected([1, 2], len(tokens), 320)

            async def idle() -> bool:
                stats = await client.stats()
                return stats.running == 0 and stats.blocks_used == 0

            await until("the engine is idle", idle)
        finally:
            await client.close()

    asyncio.run(scenario())


@pytest.mark.defends(
    "the cache is full",
    "a request that can never fit is refused, with the numbers",
    without=("dovetail.engine.admission", "if total > info.max_model_len:", "if False:"),
)
@WHERE
def test_requests_that_cannot_fit_are_refused_at_once(checkpoint, in_process):
    async def scenario():
        client = await start_engine(
            config(max_queue=1, max_num_seqs=1), checkpoint, in_process=in_process
        )
        try:
            with pytest.raises(PromptTooLong, match="512"):
                await client.submit(request("long", [1] * 500, 20))
            streams = [await client.submit(request(str(n), [1], 400)) for n in range(2)]
            with pytest.raises(Overloaded):
                await client.submit(request("one more", [1], 1))
            for stream in streams:
                assert (await tokens_of(stream))[1] is FinishReason.LENGTH
        finally:
            await client.close()

    asyncio.run(scenario())


@WHERE
def test_loading_failures_arrive_as_what_they_are(checkpoint, in_process):
    async def scenario():
        with pytest.raises(PlatformNotFound, match="no platform named 'abacus'"):
            await start_engine(EngineConfig(platform="abacus"), checkpoint, in_process=in_process)
        with pytest.raises(ConfigError, match="--max-model-len is 9999"):
            await start_engine(config(max_model_len=9999), checkpoint, in_process=in_process)

    asyncio.run(scenario())


@pytest.mark.defends(
    "the engine ends or hangs",
    "its requests end with an error at once, and another is started",
    without=(
        "dovetail.engine.process",
        "        if self.client is not None:\n            self.client.lost(error)\n        if not",
        "        if not",
    ),
)
def test_an_engine_process_that_dies_ends_every_stream(endless):
    async def scenario():
        client = await start_engine(config(kv_cache_memory=1 << 30), endless)
        stream = await client.submit(request("a", [1, 2], FOREVER))
        received = 0
        with pytest.raises(EngineStopped):
            async for output in stream:
                received += len(output.tokens)
                if received >= 3 and client.healthy():
                    os.kill(client.pid, signal.SIGKILL)
        assert not client.healthy()
        with pytest.raises(EngineStopped):
            await client.submit(request("b", [1], 1))
        await client.close()
        with pytest.raises(ProcessLookupError):
            os.kill(client.pid, 0)

    in_time("every stream has ended", lambda: asyncio.run(scenario()))


def test_the_engine_process_ends_with_its_parent(checkpoint):
    async def scenario() -> int:
        client = await start_engine(config(), checkpoint)
        client._transport.abort()  # as when the parent is gone
        return await asyncio.to_thread(exit_status, client._process)

    assert asyncio.run(scenario()) == 0


@pytest.mark.defends(
    "the engine ends or hangs",
    "an engine that ends before it is told what to load is told apart from a mistake",
    without=(
        "dovetail.engine.process",
        "if not self.transport.is_closing():  # it may have ended while platforms were looked for",
        "if True:",
    ),
)
def test_an_engine_process_that_dies_before_it_loads_has_ended(checkpoint):
    async def scenario():
        child = await process._Child.spawn()
        child.process.kill()
        with pytest.raises(EngineStopped):
            await asyncio.shield(child.connection.started)
        with pytest.raises(EngineStopped):
            await child.load(config(), checkpoint)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())
