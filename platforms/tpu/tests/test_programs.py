"""When programs are compiled: the largest before serving, smaller ones beside it, equal ones once and for all processes; and that
a mask which comes late is sampled with in a program of its own where steps and sampling are one."""

import os
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from dovetail.platform import LateEdits
from dovetail_sdk.conformance.context import Context
from dovetail_sdk.conformance.driving import Row, fetch, sample
from dovetail_sdk.conformance.tiny import VOCABULARY, Tiny, prompt
from dovetail_tpu import program
from dovetail_tpu.platform import TpuPlatform

COMPILES = """
from collections import Counter
import jax
from dovetail_sdk.conformance.context import Context
from dovetail_sdk.conformance.tiny import Tiny
from dovetail_tpu.platform import TpuPlatform

events = Counter()
jax.monitoring.register_event_listener(lambda event, **_: events.update([event]))
context = Context(TpuPlatform())
context.device.memory()  # it is open
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
Tiny().open(context, context.main)
print(events["/jax/compilation_cache/cache_hits"])
"""


@pytest.fixture
def context():
    made = Context(TpuPlatform())
    yield made
    made.close()


def test_a_bucket_that_is_wanted_often_is_compiled_beside_serving(context, monkeypatch):
    """Until it is there the largest one serves; what comes of a step is the same."""
    monkeypatch.setattr(program, "WANTED_OFTEN", 3)
    with Tiny(seed=31).open(context, context.main, tokens=200) as session:
        runs = session.program
        resident, smallest = runs._resident, runs._buckets[0]
        rows = [Row(prompt(3), 0, [1], 1)]
        first = fetch(session.run(rows, [2]), "logits", [0])
        assert not resident.is_compiled(smallest) and resident.is_compiled(runs._buckets[-1])
        for _ in range(2):
            session.run(rows, [2]).wait()
        while not resident.is_compiled(smallest):
            time.sleep(0.01)
        chosen = []
        run = resident.run
        monkeypatch.setattr(
            type(resident),
            "run",
            lambda self, batch, bucket: chosen.append(bucket) or run(batch, bucket),
        )
        np.testing.assert_allclose(fetch(session.run(rows, [2]), "logits", [0]), first, atol=1e-5)
        assert chosen == [smallest]


def test_another_process_finds_programs_on_disk(tmp_path):
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    hits, kept = [], []
    for _ in range(2):
        out = subprocess.run(
            [sys.executable, "-c", COMPILES], env=env, capture_output=True, text=True, check=True
        )
        hits.append(int(out.stdout))
        kept.append({path.name for path in (tmp_path / "dovetail/jax").glob("*-cache")})
    assert hits[0] == 0 and hits[1] > 0
    assert kept[0] and kept[1] == kept[0]


def test_a_late_mask_is_sampled_with_apart_where_sampling_is_fused(context):
    target = context.device._target
    chip = replace(target.settings.chip, fused_sampling=True)
    context.device._target = replace(target, settings=replace(target.settings, chip=chip))
    with Tiny().open(context, context.main) as session:
        pending = session.run(
            [Row(prompt(3, slot), 0, [4 * slot], slot) for slot in (1, 2)], [2, 5]
        )
        plain = int(fetch(pending, "logits", [1]).argmax())
        words = np.zeros((1, -(-VOCABULARY // 32)), np.uint32)
        words[0, 3] = 1 << 7  # the id 103 alone
        none = np.zeros(0, np.int32)
        real = np.zeros(0, np.float32)
        late = LateEdits(none, none, real, real, np.array([0], np.int32), words)
        assert sample(pending, [0, 1], late, slot=[1, 2]).result().ids.tolist() == [103, plain]
        rows = [Row([~slot], 3, [4 * slot], slot) for slot in (1, 2)]
        seen = fetch(session.run(rows, [0, 1]), "logits", [0])
    with Tiny().open(context, context.main) as session:
        session.run([Row(prompt(3, 1), 0, [4], 1)], [2]).wait()
        wanted = fetch(session.run([Row([103], 3, [4], 1)], [0]), "logits", [0])
    np.testing.assert_allclose(seen, wanted, atol=1e-4)
