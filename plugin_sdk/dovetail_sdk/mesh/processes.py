"""The processes of a mesh, as the parent holds them: starting, calling, noticing that one has ended."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future
from concurrent.futures import wait as wait_for
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np
from dovetail.errors import DeviceLost
from dovetail.platform import WeightSource

from .channel import MOST_MEMBERS, Sender, SharedMemory, make_shared_memory
from .wire import decode, encode

END_S = 10.0
"""That a member may take to end when told to."""


class Processes:
    """One process per member.

    open       "module:function" that opens a member's device
    arguments  of it, per member
    """

    def __init__(self, open: str, arguments: Sequence[tuple[Any, ...]]) -> None:  # noqa: A002
        members = len(arguments)
        if members > MOST_MEMBERS:
            raise ValueError(f"a mesh of {members}; at most {MOST_MEMBERS} fit")
        self.sources: dict[int, WeightSource] = {}
        self._file = make_shared_memory(members)
        self._memory = SharedMemory(self._file.fileno(), members)
        self._numbers = itertools.count()
        self._waiting: dict[int, list[Future[Any]]] = {}
        self._lost: DeviceLost | None = None
        self._lock = threading.Lock()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._connections: list[Connection[Any, Any]] = []
        start = {"open": open, "arguments": list(arguments), "members": members}
        for rank in range(members):
            self._connections.append(self._start(rank, start))
        self._sender = Sender(self._memory, self._connections)
        self._reader = threading.Thread(target=self._read, name="dovetail-mesh", daemon=True)
        self._reader.start()

    def _start(self, rank: int, start: dict[str, Any]) -> Connection[Any, Any]:
        ours, theirs = socket.socketpair()
        with theirs:
            descriptors = (theirs.fileno(), self._file.fileno())
            command = [sys.executable, "-m", "dovetail_sdk.mesh.member", *map(str, descriptors)]
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            self._processes.append(subprocess.Popen(command, pass_fds=descriptors, env=environment))
        connection: Connection[Any, Any] = Connection(ours.detach())
        connection.send_bytes(encode({**start, "rank": rank}))
        return connection

    def call(self, name: str, *arguments: Any) -> list[Any]:
        """What every member answers. Raises what the first of them raised, or DeviceLost."""
        futures = self._issue(name, arguments, len(self._processes))
        ended, _ = wait_for(futures, return_when=FIRST_EXCEPTION)
        for future in ended:
            future.result()
        return [future.result() for future in futures]

    def issue(self, name: str, *arguments: Any) -> Future[Any]:
        """What the first member will answer; returns at once."""
        return self._issue(name, arguments, 1)[0]

    def tell(self, name: str, *arguments: Any) -> None:
        """Without an answer."""
        self._issue(name, arguments, 0)

    def _issue(self, name: str, arguments: tuple[Any, ...], answers: int) -> list[Future[Any]]:
        if self._lost is not None:
            raise self._lost
        number = next(self._numbers)
        futures: list[Future[Any]] = [Future() for _ in range(answers)]
        with self._lock:
            self._waiting[number] = futures
        self._sender.send((number, name, arguments))
        if self._lost is not None:  # it went while this was sent: nobody will answer
            raise self._lost
        return futures

    def _read(self) -> None:
        """Hand answers to who waits for them, until a member ends."""
        ranks = {connection: rank for rank, connection in enumerate(self._connections)}
        while self._lost is None:
            for ready in wait(self._connections):
                assert isinstance(ready, Connection)
                try:
                    self._take(ranks[ready], *decode(ready.recv_bytes()))
                except (EOFError, OSError):
                    self._lose(DeviceLost(f"member {ranks[ready]} of the mesh has ended"))
                    return

    def _take(self, rank: int, kind: str, number: int, value: Any) -> None:
        if kind == "weight":
            self._give_weight(rank, *value)
            return
        with self._lock:
            futures = self._waiting.get(number, [])
            future = futures[rank] if rank < len(futures) else None
            if all(other.done() for other in futures if other is not future):
                self._waiting.pop(number, None)
        if kind == "value" and future is not None:
            future.set_result(value[0])
        elif kind == "error" and future is not None:
            lost = isinstance(
                value, DeviceLost
            )  # perhaps of another member's end, which nobody has noticed yet
            future.set_exception(
                DeviceLost(f"member {rank} of the mesh failed: {value}") if lost else value
            )
        elif kind == "error":  # of a member that nobody asks: it is out of step from now on
            self._lose(DeviceLost(f"member {rank} of the mesh failed: {value}"))

    def _give_weight(self, rank: int, name: str, plane: str, first: int, end: int) -> None:
        part = np.ascontiguousarray(self.sources[rank].read(name, plane, slice(first, end)))
        self._memory.piece(rank)[: part.nbytes] = part.reshape(-1).view(np.uint8).data
        self._connections[rank].send_bytes(encode((part.shape, part.dtype.name)))

    def _lose(self, error: DeviceLost) -> None:
        """The members that are left wait for the lost one for ever: they are ended too."""
        self._lost = error
        for process in self._processes:
            process.kill()
        with self._lock:
            waiting = [future for futures in self._waiting.values() for future in futures]
            self._waiting.clear()
        for future in waiting:
            if not future.done():
                future.set_exception(error)

    def close(self, *, at_once: bool = False) -> None:
        """End all of them. Twice does no harm.

        at_once  without asking: some may wait for one that failed
        """
        if at_once and self._lost is None:
            self._lose(DeviceLost("the mesh was closed"))
        if self._lost is None:
            self._lost = DeviceLost("the mesh was closed")
            with contextlib.suppress(DeviceLost, OSError):
                self._sender.send((next(self._numbers), "end", ()))
        for process in self._processes:
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._reader.join(END_S)
        for connection in self._connections:
            connection.close()
        self._file.close()
