"""The comparison with other servers: what the client reads from a stream, and what the tables make of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

PEERS = Path(__file__).parents[2] / "ci/bench/peers"


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark's modules, found as they are when its programs run."""
    monkeypatch.syspath_prepend(str(PEERS))
    for name in ("client", "workloads", "report"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import client
    import report

    client.report = report
    return client


def stream(tokens: int) -> bytes:
    """An answer as a server sends it: head, events in chunks, usage."""
    events = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}], "usage": None}
    ]
    events += [{"choices": [{"index": 0, "delta": {"content": f"w{n} "}}]} for n in range(tokens)]
    events.append({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": tokens}})
    body = b"".join(
        f"{len(line):x}\r\n".encode() + line + b"\r\n"
        for line in (f"data: {json.dumps(event)}\n\n".encode() for event in events)
    )
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_a_stream_reads_the_same_however_it_is_cut(peers: ModuleType, size: int) -> None:
    whole = stream(5)
    pieces = [
        (float(at), whole[at : at + size]) for at in range(0, len(whole), size)
    ]  # the time of a piece is where it begins
    reply = peers.Reply(0.0, pieces).read()
    assert reply.text == "w0 w1 w2 w3 w4 "
    assert (reply.prompt_tokens, reply.tokens, len(reply.arrivals)) == (3, 5, 5)
    assert reply.arrivals == sorted(reply.arrivals)


def test_an_answer_that_is_no_stream_is_an_error(peers: ModuleType) -> None:
    with pytest.raises(RuntimeError, match="model not found"):
        peers.Reply(0.0, [(1.0, b"HTTP/1.1 404 Not Found\r\n\r\nmodel not found")]).read()
    with pytest.raises(RuntimeError, match="no text"):
        peers.Reply(0.0, [(1.0, stream(0))]).read()


def test_ratios_are_above_one_where_we_are_better(peers: ModuleType) -> None:
    def result(engine: str, rate: float, wait: float) -> dict[str, object]:
        return {
            "model": "m",
            "weights": "int8",
            "at": "2026-01-01 00:00",
            "engine": f"{engine} int8",
            "workload": "batch 32",
            "tokens_per_s": rate,
            "first_p99_ms": wait,
            "gap_p99_ms": wait,
        }

    results = [result("dovetail", rate, 10) for rate in (1, 200, 300)]
    lines = list(peers.report.tables([*results, result("vllm", 100, 40)]))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "| batch" in line]
    assert [row[1:5] for row in rows] == [
        ["tokens_per_s", "200", "100", "2.00"],
        ["first_p99_ms", "10", "40", "4.00"],
        ["gap_p99_ms", "10", "40", "4.00"],
    ]
