"""Short runs of the chaos driver: faults, kills, damaged files and restarts under load, and nothing may be wrong after them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = Path(__file__).parents[2] / "ci/chaos"


def driver(*words: str) -> str:
    """What it prints; it must find nothing wrong."""
    done = subprocess.run([sys.executable, str(DRIVER), *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(("platform", "seed"), [("null", 4), ("fault", 326)], ids=["null", "fault"])
def test_an_episode_leaves_nothing_wrong(platform: str, seed: int) -> None:
    said = driver(
        *("--episodes", "1", "--waves", "2", "--wave-seconds", "1.5"),
        *("--seed", str(seed), "--platform", platform),
    )
    assert "disk=True" in said and "restarts=True" in said
    assert "\n0 violations" in said


def test_killed_engines_are_told_to_every_client_and_come_back() -> None:
    said = driver("--kills", "5", "--seed", "1", "--no-limits")
    assert "5 kills" in said and "WRONG" not in said


def test_the_driver_sees_what_is_wrong(tmp_path: Path) -> None:
    """Its checks are not blind: an answer with one token changed, one that never ended, a count that is off."""
    code = """
from asking import Got, Outcome
from facts import Facts
from judging import faults_of, miscounted
from loads import Asked
class Server:
    def excuses(self, *_, **__): return False
    def paused(self, *_): return False
class Paused(Server):
    def paused(self, *_): return True
facts = Facts(True)
body = {"prompt": [1, 2, 3], "max_tokens": 4, "temperature": 0.0, "ignore_eos": True}
ids = facts.reply([1, 2, 3], 4, stops=False, temperature=0.0, seed=0)
def outcome(kind="complete", ids=ids, finish=("length",), tokens=4):
    text = facts.tokenizer.decode(ids)
    made = Outcome(Asked("/v1/completions", body), 0.0, 1.0, kind, 200)
    made.choices[0] = Got([1, 2, 3], list(ids), text, list(finish))
    made.usage = {"prompt_tokens": 3, "completion_tokens": tokens}
    return made
def wrong(**change): return faults_of(outcome(**change), facts, Server(), faulty=False)
assert not wrong()
assert wrong(ids=[*ids[:3], ids[3] ^ 1])
assert wrong(ids=ids[:3], tokens=3)
assert wrong(finish=()) and wrong(finish=("length", "stop"))
assert wrong(kind="hangs") and wrong(kind="broken") and wrong(kind="error")
assert wrong(tokens=5)
assert not faults_of(outcome(kind="hangs"), facts, Paused(), faulty=False)
assert faults_of(outcome(ids=[*ids[:3], ids[3] ^ 1]), facts, Paused(), faulty=False)
right = {"request_success_total.stop": 0, "request_success_total.length": 1,
         "generation_tokens_total": 4, "prompt_tokens_total": 3}
assert not miscounted(right, [outcome()])
for name in right:
    assert miscounted({**right, name: right[name] + 1}, [outcome()]), name
"""
    program = tmp_path / "blind.py"
    program.write_text(code)
    environment = (
        f"import sys; sys.path.insert(0, {str(DRIVER)!r}); exec(open({str(program)!r}).read())"
    )
    subprocess.run([sys.executable, "-c", environment], check=True)
