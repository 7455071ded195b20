"""Engines with tiers below a cache that is much too small, on the null platform: nobody gets another token for it."""

from __future__ import annotations

import dataclasses
import errno
import os
import random
import threading

import numpy as np
import pytest
from dovetail.engine import restoring
from dovetail.errors import CacheLost, ConfigError
from dovetail.request import FinishReason
from dovetail.scheduler import namespace
from dovetail.tiers import disk
from dovetail.tiers.names import Record, child_name, root_name
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.waiting import Patience, until

from .test_engine import DEVICES, VOCABULARY, oracle, random_request, request, run

EPISODES = int(os.environ.get("DOVETAIL_TEST_EPISODES", "60")) // 2
BLOCK = 4 * 3 * 2 * 2 * 32 * 4  # tokens x TOKEN_BYTES


def drive(engine, asked, rng, *, cancel=0.03) -> dict[str, list[int]]:
    """Run requests that come one by one; what was delivered. Checks every one against the definition."""
    todo, names = list(asked), sorted(one.id for one in asked)
    delivered: dict[str, list[int]] = {name: [] for name in names}
    finished: dict[str, FinishReason] = {}
    patience = Patience("all requests have ended")
    while len(finished) < len(names):
        patience.look()
        if todo and rng.random() < 0.4:
            engine.submit(todo.pop())
        if rng.random() < cancel:
            engine.cancel(rng.choice(names))
        for output in engine.step():
            assert output.request_id not in finished
            delivered[output.request_id] += output.tokens
            if output.finish is not None:
                finished[output.request_id] = output.finish
        if not engine.has_work and rng.random() < 0.5:
            engine.idle()
        engine._scheduler.check()
    for one in asked:
        want = oracle(one)
        got = delivered[one.id]
        assert got == (want[: len(got)] if finished[one.id] is FinishReason.CANCELLED else want)
    return delivered


def settle(engine):
    """Until all that can be kept below the cache is on its way there."""
    until("the engine has nothing to do", lambda: not engine.idle())


def requests_of(rng: random.Random, bases: list[list[int]], room: int, tag: str):
    return [
        random_request(rng, f"{tag}{number}", bases, room) for number in range(rng.randint(1, 14))
    ]


@settings(
    max_examples=EPISODES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    seed=st.integers(0, 2**32),
    device=st.sampled_from(DEVICES),
    budget=st.sampled_from([3, 16, 64]),
    seqs=st.integers(1, 6),
    host=st.integers(1, 60),
    disk=st.sampled_from([0, 0, 1, 8, 400]),
)
def test_tokens_are_the_same_with_tiers_and_after_a_restart(
    null_engine,
    tmp_path_factory,
    seed,
    device,
    budget,
    seqs,
    host,
    disk,
):
    rng, room = random.Random(seed), 80
    directory = tmp_path_factory.mktemp("kv")
    directory.chmod(0o700)
    bases = [[rng.randrange(VOCABULARY) for _ in range(rng.randint(20, 60))] for _ in range(3)]
    for start in range(3):
        engine = null_engine(
            device,
            num_blocks=rng.randint(20, 40),
            max_model_len=room,
            max_num_seqs=seqs,
            max_num_batched_tokens=budget,
            kv_cache_host_memory=host * BLOCK,
            kv_cache_disk=(str(directory), disk * (BLOCK + 300)) if disk else None,
        )
        for wave in range(2):
            drive(engine, requests_of(rng, bases, room, f"{start}.{wave}."), rng)
        while engine.has_work:
            engine.step()
        settle(engine)
        stats = engine.stats()
        assert stats.blocks_used == 0 and stats.total_disk_errors == 0
        assert stats.blocks_host <= host and stats.blocks_disk <= disk
        engine.close()


@pytest.mark.parametrize("device", DEVICES)
def test_an_evicted_prefix_comes_back_from_host_memory(null_engine, device):
    engine = null_engine(device, num_blocks=64, max_model_len=250, kv_cache_host_memory=400 * BLOCK)
    first = [n * 7 % VOCABULARY for n in range(200)]
    asked = [request("a", first, 2)]
    asked += [
        request(str(n), [n * (1 + k) % VOCABULARY for k in range(200)], 2) for n in (3, 11, 13)
    ]
    for one in asked:
        outputs = run(engine, [one])
        assert outputs[one.id] == (oracle(one), 0)
    again = request("b", [*first, 5, 6], 2)
    outputs = run(engine, [again])
    assert outputs["b"] == (oracle(again), 200)
    stats = engine.stats()
    assert stats.total_restored_blocks == 50 and stats.blocks_host > 50
    engine.close()


@pytest.mark.parametrize("device", ["0", "ahead2", "strict3"])
def test_a_prefix_outlives_the_engine_on_disk(null_engine, tmp_path, device):
    given = {
        "max_model_len": 250,
        "kv_cache_disk": (str(tmp_path / "kv"), 1 << 24),
    }
    prompt = [n * 7 % VOCABULARY for n in range(203)]
    engine = null_engine(device, **given)
    run(engine, [request("a", prompt, 2)])
    engine.close()  # nobody was idle: it is saved here
    engine = null_engine(device, **given)
    again = request("b", [*prompt, 1], 2)
    until("the directory is read", lambda: engine.stats().blocks_disk >= 50)
    outputs = run(engine, [again])
    assert outputs["b"] == (oracle(again), 200)
    salted = dataclasses.replace(request("c", [*prompt, 1], 2), salt="another key")
    assert run(engine, [salted])["c"] == (oracle(salted), 0)
    engine.close()


def test_another_model_finds_nothing(null_engine, tmp_path):
    given = {"max_model_len": 250, "kv_cache_disk": (str(tmp_path / "kv"), 1 << 24)}
    prompt = [n * 7 % VOCABULARY for n in range(203)]
    engine = null_engine(**given)
    run(engine, [request("a", prompt, 2)])
    engine.close()
    engine = null_engine(quantization="int8", **given)
    until("the directory is read", lambda: engine.stats().blocks_disk >= 50)
    assert run(engine, [request("b", prompt, 2)])["b"][1] == 0
    engine.close()


def test_a_lost_cache_takes_nothing_wrong_along(null_engine):
    engine = null_engine(num_blocks=64, max_model_len=250, kv_cache_host_memory=400 * BLOCK)
    prompt = [n * 7 % VOCABULARY for n in range(200)]
    run(engine, [request("a", prompt, 2)])
    for other in (3, 11, 13):  # "a" is in host memory now
        run(engine, [request(str(other), [other * (1 + k) % VOCABULARY for k in range(200)], 2)])
    again = request("b", [*prompt, 9], 8)
    engine.submit(again)
    outputs = engine.step()
    engine._recover(CacheLost("planted"))
    while engine.has_work:
        outputs += engine.step()
    assert [token for output in outputs for token in output.tokens] == oracle(again)
    last = request(
        "c", [*prompt, *again.prompt[:9], 1], 4
    )  # of which the device had more than the host
    assert run(engine, [last])["c"][0] == oracle(last)
    engine._recover(CacheLost("planted again"))
    run(engine, [request("d", [5] * 40, 2)])
    assert run(engine, [dataclasses.replace(last, id="e")])["e"][0] == oracle(last)
    engine.close()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kv_cache_host_memory": 100}, "one block takes"),
        ({"kv_cache_host_memory": 1 << 20, "enable_prefix_caching": False}, "leave out one"),
        ({"kv_cache_disk": ("/proc/nowhere/kv", 1 << 20)}, "cannot be used"),
    ],
)
def test_settings_that_cannot_be_met_say_what_to_change(null_engine, given, message):
    with pytest.raises(ConfigError, match=message):
        null_engine(**given)


# --------------------------------------------------------------------------------------------- disks that fail


ON_DISK = {"max_model_len": 250, "num_blocks": 64}
LONG = [n * 7 % VOCABULARY for n in range(203)]


def on_disk(directory) -> dict[str, object]:
    return {**ON_DISK, "kv_cache_disk": (str(directory / "kv"), 1 << 24)}


@pytest.mark.defends(
    "the disk is full or lies",
    "serving goes on without a disk that cannot be written, with one warning",
    without=(
        "dovetail.tiers.disk",
        '            self._failed("writing", error)\n',
        "            raise\n",
    ),
)
def test_a_full_disk_harms_no_request(null_engine, tmp_path, monkeypatch, caplog):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(disk, "write_block", full)
    engine = null_engine(**on_disk(tmp_path))
    for number in (1, 3, 11, 13):
        one = request(str(number), [number * (1 + k) % VOCABULARY for k in range(200)], 2)
        assert run(engine, [one])[one.id][0] == oracle(one)
        settle(engine)
    courier = engine._restoring.tiers._courier
    until("all is written", lambda: not courier._writes or not courier._thread.is_alive())
    assert courier._thread.is_alive()
    engine.close()
    warnings = [record for record in caplog.records if "left alone" in record.getMessage()]
    assert len(warnings) == 1 and "No space left" in warnings[0].getMessage()
    assert not list((tmp_path / "kv").glob("*/*"))


@pytest.mark.defends(
    "the disk is full or lies",
    "blocks that come back changed are computed instead",
    without=(
        "dovetail.tiers.block_file",
        "if _checksum(name, parent, (view[_HEAD.size :],)) != checksum:",
        "if False:",
    ),
)
def test_blocks_that_come_back_changed_are_computed(null_engine, tmp_path):
    engine = null_engine(**on_disk(tmp_path))
    run(engine, [request("a", LONG, 2)])
    engine.close()
    files = list((tmp_path / "kv").glob("*/*.kv"))
    assert len(files) >= 50
    for path in files:
        content = bytearray(path.read_bytes())
        content[-100] ^= 64
        path.write_bytes(content)
    engine = null_engine(**on_disk(tmp_path))
    until("the directory is read", lambda: engine.stats().blocks_disk >= len(files))
    again = request("b", [*LONG, 1], 4)
    assert run(engine, [again])["b"] == (oracle(again), 0)
    assert engine.stats().total_disk_errors > 0
    engine.close()


@pytest.mark.defends(
    "the disk is full or lies",
    "a disk that takes longer than computing would is not waited for",
    without=(
        "dovetail.engine.restoring",
        "if not waiting.loading.job.done and now < waiting.gives_up:",
        "if not waiting.loading.job.done:",
    ),
)
def test_a_disk_that_does_not_answer_is_not_waited_for(null_engine, tmp_path, monkeypatch):
    engine = null_engine(**on_disk(tmp_path))
    run(engine, [request("a", LONG, 2)])
    engine.close()
    answer, read = threading.Event(), disk.read_block
    monkeypatch.setattr(disk, "read_block", lambda *given: answer.wait() and read(*given))
    monkeypatch.setattr(restoring, "UNKNOWN_S", 0.05)
    monkeypatch.setattr(restoring, "WAIT_S", 0.001)
    engine = null_engine(**on_disk(tmp_path))
    until("the directory is read", lambda: engine.stats().blocks_disk >= 50)
    again = request("b", [*LONG, 1], 4)
    engine.submit(again)
    assert engine._restoring.ids == ["b"]
    outputs = [output for _ in range(3000) if engine.has_work for output in engine.step()]
    answer.set()
    engine.close()
    assert [token for output in outputs for token in output.tokens] == oracle(again)


@pytest.mark.defends(
    "prefixes of other tenants",
    "below the cache, too, tokens are compared, and not only names made of them",
    without=(
        "dovetail.tiers.tiers",
        "if record is None or record.tokens != key or record.parent != parent:",
        "if record is None:",
    ),
)
@pytest.mark.parametrize("forged", ["tokens", "parent"])
def test_a_block_of_the_right_name_and_other_contents_is_not_used(null_engine, forged):
    engine = null_engine(num_blocks=64, max_model_len=250, kv_cache_host_memory=400 * BLOCK)
    asked, tiers = request("a", LONG, 4), engine._restoring.tiers
    root = root_name(tiers._identity, namespace(asked))
    name, size = child_name(root, LONG[:4]), sum(tiers._widths)
    tokens = (9, 9, 9, 9) if forged == "tokens" else tuple(LONG[:4])
    parent = bytes(32) if forged == "parent" else root
    tiers.host.put(Record(name, parent, tokens, np.full(size, 7, np.uint8)))
    assert run(engine, [asked])["a"] == (oracle(asked), 0)
    engine.close()
