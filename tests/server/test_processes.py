"""A server and its engine as processes: what can be reached of them, and what is left of an engine that was killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import until

from .serving import Server, last_error

LISTENS = "0A"  # of proc_pid_net(5), where a socket's state stands
ENDLESS = 900_000


@pytest.fixture
def server(endless: Path) -> Iterator[Server]:
    running = Server(endless)
    yield running
    running.process.kill()
    running.process.communicate()


def descriptors(pid: int) -> list[str]:
    """What a process has open."""
    folder = Path(f"/proc/{pid}/fd")
    return [os.readlink(entry) for entry in folder.iterdir() if entry.is_symlink()]


def inodes(pid: int) -> set[str]:
    """Of its sockets."""
    opened = descriptors(pid)
    return {name[8:-1] for name in opened if name.startswith("socket:")}


def rows(table: str) -> list[list[str]]:
    return [line.split() for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]


def listening(pids: list[int]) -> list[int]:
    """Ports that processes listen on."""
    own = set[str]().union(*map(inodes, pids))
    tables = [row for table in ("tcp", "tcp6") for row in rows(table)]
    return [int(r[1].rpartition(":")[2], 16) for r in tables if r[3] == LISTENS and r[9] in own]


def paths(pids: list[int]) -> list[str]:
    """Names by which their Unix sockets could be reached."""
    own = set[str]().union(*map(inodes, pids))
    return [row[7] for row in rows("unix") if row[6] in own and len(row) > 7]


@pytest.mark.defends(
    "code between processes",
    "the processes talk over a pair of sockets that only they hold; one port can be reached",
    without=(
        "dovetail.engine.worker",
        "    die_with_parent()\n    signal",
        '    die_with_parent()\n    listener = socket.create_server(("127.0.0.1", 0))\n    signal',
    ),
)
def test_nothing_but_the_port_can_be_reached(server: Server) -> None:
    (engine,) = server.children()
    pids = [server.process.pid, engine]
    assert listening(pids) == [server.port]
    assert listening([engine]) == [] and paths(pids) == []


@pytest.mark.defends(
    "the engine ends or hangs",
    "nothing is left of an engine that has ended: no process, no socket",
    without=(
        "dovetail.engine.process",
        "        theirs.close()\n",
        "        theirs.close()\n        ours.dup().detach()\n",
    ),
)
def test_a_killed_engine_leaves_nothing_behind(server: Server) -> None:
    kill(server)  # what is imported and opened with the first restart is not looked at
    before = kinds_of_descriptors(server)
    for _ in range(3):
        kill(server)
    assert kinds_of_descriptors(server) == before
    assert len(server.children()) == 1
    assert server.end(signal.SIGTERM) == 0


def kinds_of_descriptors(server: Server) -> list[str]:
    """What a server has open while no client is connected, without the numbers that tell one socket from another."""
    pid = server.process.pid
    until("no client is connected", lambda: not connections(server))
    return sorted(name.partition("[")[0] for name in descriptors(pid))


def connections(server: Server) -> list[list[str]]:
    """Of clients, as the server has them open."""
    own, port = inodes(server.process.pid), f":{server.port:04X}"
    return [r for r in rows("tcp") if r[1].endswith(port) and r[3] != LISTENS and r[9] in own]


def kill(server: Server) -> None:
    """The engine, in the middle of a stream; until there is another, and nothing is left of the stream."""
    stream = server.stream(ENDLESS)
    (engine,) = server.children()
    os.kill(engine, signal.SIGKILL)
    last_error(stream)
    stream.close()
    until("another engine runs", lambda: server.status("/ready") == 200)


@pytest.mark.defends(
    "the engine ends or hangs",
    "/health and /ready say 503 until another runs",
    without=("dovetail.server.app", "if not served.engine.healthy():", "if False:"),
)
def test_health_and_ready_tell_the_truth_while_another_engine_starts(server: Server) -> None:
    stream = server.stream(ENDLESS)
    (engine,) = server.children()
    os.kill(engine, signal.SIGKILL)
    last_error(stream)
    body = {"prompt": "x", "max_tokens": 1}
    assert [server.status("/health"), server.status("/ready")] == [503, 503]
    assert server.post("/v1/completions", body) == 503
    until("another engine runs", lambda: server.status("/ready") == 200)
    assert server.status("/health") == 200 and server.post("/v1/completions", body) == 200
