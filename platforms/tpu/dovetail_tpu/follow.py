"""A host of a mesh that another one leads: python -m dovetail_tpu.follow [--port 8476]

It makes the calls that it is told of, in order, on its own devices, and ends with the leader. The hosts are those that Cloud TPU's
environment lists: TPU_WORKER_HOSTNAMES, the leader first, and TPU_WORKER_ID.
"""

from __future__ import annotations

import argparse
import logging
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
from dovetail.graph import Graph
from dovetail.platform import Batch, Device, KVLayout, LoadedModel, Pending, Program, Shape
from dovetail_sdk.mesh.remote import RemoteSource

from .channel import Channel
from .hosts import PORT, Hosts, hosts_here
from .leader import JOIN_S

log = logging.getLogger("dovetail.tpu")

KEPT = 4
"""Steps whose Pending is kept: a step may be sampled until the next but one was run."""


def main() -> int:
    """Exit status: 0 when the leader has ended, 1 where it cannot be found or a call fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=PORT, help="as the leader's hosts_port")
    port = parser.parse_args().port
    hosts = hosts_here()
    if hosts.own == 0:
        raise SystemExit(
            "error: this host follows nobody: TPU_WORKER_HOSTNAMES must list the hosts of the slice, the leader first, "
            "and TPU_WORKER_ID must be this one's place, 1 or more"
        )
    try:
        channel = joined(hosts, port + 1)
    except OSError as error:
        raise SystemExit(f"error: no leader at {hosts.names[0]}:{port + 1}: {error}") from error
    return Follower(channel).serve()


def joined(hosts: Hosts, port: int) -> Channel:
    """The leader, once it is there. Raises OSError if it does not come."""
    end = time.monotonic() + JOIN_S
    while True:
        try:
            connection = socket.create_connection((hosts.names[0], port))
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
        else:
            channel = Channel(connection)
            channel.send(hosts.own)
            return channel


class Follower:
    """Makes the leader's calls."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._device: Device | None = None
        self._models: dict[int, LoadedModel] = {}
        self._programs: dict[int, Program] = {}
        self._pendings: dict[int, Pending] = {}

    def serve(self) -> int:
        """Until the leader has gone."""
        while True:
            try:
                name, arguments = self._channel.receive()
            except EOFError:
                return 0
            try:
                getattr(self, f"do_{name}")(*arguments)
            except ValueError as error:  # raised on the leader alike, which goes on
                log.warning("call=%s refused=%r", name, str(error))
            except Exception as error:
                log.exception("call=%s", name)
                self._channel.send(("failed", f"{type(error).__name__}: {error}"))
                return 1

    def do_open(self, devices: Sequence[str], options: Mapping[str, str], emulated: bool) -> None:
        from .opening import open_mesh

        self._device = open_mesh(devices, options, emulated, hosts_here())
        self._channel.send(("ready",))

    def do_load(self, model: int, graph: Graph, planes: dict[str, tuple[str, ...]]) -> None:
        assert self._device is not None
        self._models[model] = self._device.load(graph, RemoteSource(graph, planes, self._ask))
        self._channel.send(("ready",))

    def _ask(
        self, name: str, plane: str, first: int, end: int
    ) -> tuple[tuple[int, ...], np.dtype[Any], memoryview]:
        self._channel.send(("weight", name, plane, first, end))
        shape, dtype, raw = self._channel.receive()
        return shape, np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype), raw.data

    def do_allocate(self, model: int, layout: KVLayout, num_blocks: tuple[int, ...]) -> None:
        self._pendings.clear()
        self._models[model].allocate(layout, num_blocks)
        self._channel.send(("ready",))

    def do_compile(self, model: int, program: int, shape: Shape) -> None:
        self._programs[program] = self._models[model].compile(shape)
        self._channel.send(("ready",))

    def do_copy_blocks(self, model: int, group: int, sources: Any, targets: Any) -> None:
        self._models[model].copy_blocks(group, sources, targets)

    def do_run(self, program: int, step: int, batch: Batch) -> None:
        self._pendings[step] = self._programs[program].run(batch)
        for old in [other for other in self._pendings if other <= step - KEPT]:
            del self._pendings[old]

    def do_launch(self, step: int) -> None:
        self._pendings[step].done()

    def do_sample(self, step: int, rows: Any, columns: Any, late: Any) -> None:
        self._pendings[step].sample(rows, columns, late)

    def do_fetch(self, step: int, output: str, rows: Any) -> None:
        self._pendings[step].fetch(output, rows)


if __name__ == "__main__":
    sys.exit(main())
