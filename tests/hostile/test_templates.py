"""Chat templates that somebody wrote to do harm: none takes more time or memory than it may, whatever it makes of that."""

from __future__ import annotations

import json

import pytest
from limited import HERE, limited

SOURCES = (HERE / "corpus/templates.txt").read_text().split("\n---\n")
HARMLESS = 4
"""The first ones of the file; the others are there to do harm."""
RENDERING = """
import json, resource, sys, time
from dovetail.errors import DovetailError
from dovetail.text.template import ChatTemplate
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
for source in json.load(sys.stdin):
    began, before = time.process_time(), peak()
    try:
        text = ChatTemplate(source, time_limit_s=float(sys.argv[1])).render([{"role": "user", "content": "hi"}])
        said = f"{len(text)} characters"
    except DovetailError as error:
        said = f"{type(error).__name__}: {error}"
    print(json.dumps([said, time.process_time() - began, peak() - before]), flush=True)
"""
MEMORY_BYTES = 800 << 20
PROCESSOR_S = 5.0


@pytest.fixture(scope="module")
def rendered() -> list[tuple[str, float, int]]:
    """Of each: what came of it, seconds it computed, and bytes by which the process's greatest size grew."""
    longer = ["{{ ('a' * 1000000)" + "|upper" * 50 + "|length }}", "x" * 300_000]
    longer += [
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "{% if 1 %}" * 200 + "{% endif %}" * 200,
    ]
    longer += ["{{ " + "+".join(["1"] * 20_000) + " }}", "{{ " + "not " * 3000 + "1 }}"]
    longer += [
        "{% for i in [1] %}" * 30 + "x" + "{% endfor %}" * 30,
        "{{ [" + "1," * 100_000 + "] }}",
    ]
    done = limited("-c", RENDERING, "0.2", stdin=json.dumps([*SOURCES, *longer]), processor_s=200)
    lines = [tuple(json.loads(line)) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (SOURCES[len(lines)], done.stderr[-3000:])
    return lines  # type: ignore[return-value]


def test_no_template_takes_more_than_it_may(rendered: list[tuple[str, float, int]]) -> None:
    for source, (said, seconds, grown) in zip(SOURCES, rendered, strict=False):
        assert seconds < PROCESSOR_S and grown < MEMORY_BYTES, (source, said, seconds, grown)


def test_ordinary_templates_are_rendered(rendered: list[tuple[str, float, int]]) -> None:
    assert all("characters" in said for said, _, _ in rendered[:HARMLESS]), rendered[:HARMLESS]


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("lipsum(n=1,min=10,max=10**9)", "'lipsum' is undefined"),
        ("replace('a','b'*10000000)", "it makes a string of more than"),
        ("translate", "translate() on a string"),
        ("[ns.x,ns.x] %}{% endfor %}{{ ns.x }}", "it works on a value of more than"),
        ("{{ ns.x == ns.y }}", "it works on a value of more than"),
        ("3|round(-10**9)", "it rounds to more than"),
        ("''.join(['a'*16000000]*100)", "it makes a string of more than"),
    ],
)
def test_harm_is_named(part: str, said: str, rendered: list[tuple[str, float, int]]) -> None:
    number = next(n for n, source in enumerate(SOURCES) if part in source)
    assert said in rendered[number][0]


@pytest.mark.defends(
    "code in checkpoints",
    "a template has so much memory",
    without=("dovetail.text.bounds", "        if grown > MAX_MEMORY:\n", "        if False:\n"),
)
def test_a_template_that_gathers_memory_is_stopped_before_it_has_much() -> None:
    source = next(source for source in SOURCES if "('a'*16000000)~i]" in source)
    done = limited("-c", RENDERING, "60", stdin=json.dumps([source]), memory_bytes=3 << 30)
    said, _, grown = json.loads(done.stdout)
    assert "it takes more than 512 MiB of memory" in said and grown < MEMORY_BYTES
