"""The engine process: `python -m dovetail.engine.worker FD LEVEL FORMAT`, started by process.py and by nothing else."""

from __future__ import annotations

import ctypes
import gc
import signal
import socket
import sys
from dataclasses import replace

from dovetail.config import EngineConfig
from dovetail.logs import log_uncaught, start_logging
from dovetail.plugins import Selection, find_again
from dovetail.weights.checkpoint import open_checkpoint

from . import loop
from .load import load_engine
from .messages import Command, Report, Start, Started, Stop, Unframer, commands, failure, frame

READ_BYTES = 1 << 18
RARE_COLLECTIONS = (
    20_000,
    50,
    50,
)  # a full one took 50 to 90 ms within a step with Python's own thresholds


class SocketPort:
    """Commands and reports over one end of a pair of sockets. A closed socket reads as Stop."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._unframer = Unframer()

    def receive(self, *, block: bool) -> list[Command]:
        received: list[Command] = []
        while True:
            wait = block and not received
            try:
                data = self._connection.recv(READ_BYTES, 0 if wait else socket.MSG_DONTWAIT)
            except BlockingIOError:
                return received
            except ConnectionError:
                data = b""
            if not data:
                return [*received, Stop()]
            received += [commands.decode(message) for message in self._unframer.feed(data)]
            if received and len(data) < READ_BYTES:
                return received

    def send(self, report: Report) -> None:
        self._connection.sendall(frame(report))


def serve(port: SocketPort) -> int:
    """Load what Start names and run it; the exit status."""
    first = port.receive(block=True)[0]
    if not isinstance(first, Start):
        return 0
    try:
        checkpoint = open_checkpoint(first.directory, progress=False)
        engine = load_engine(
            first.config, replace(checkpoint, name=first.name), _offers(first.config)
        )
    except Exception as error:  # the parent raises it in its own words
        port.send(failure(error))
        return 1
    gc.collect()
    gc.freeze()  # what is loaded stays: no collection needs to look at it again
    gc.set_threshold(*RARE_COLLECTIONS)
    try:
        port.send(Started(engine.info))
        loop.run(engine, port)
    except ConnectionError:
        return 0
    except Exception as error:
        port.send(failure(error))
        raise
    finally:
        engine.close()
    return 0


def _offers(config: EngineConfig) -> list[Selection] | None:
    """What the launcher has chosen; None if it left that to us."""
    if config.platform is None:
        return None
    return [find_again(config.platform, timeout_s=config.probe_timeout_s)]


def die_with_parent() -> None:
    """On Linux the system ends this process with the server, also while it hangs in a device's driver."""
    if sys.platform == "linux":
        parent_death_signal = 1  # PR_SET_PDEATHSIG of prctl(2)
        ctypes.CDLL(None).prctl(parent_death_signal, signal.SIGKILL)


def main() -> None:
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server decides when the engine ends
    start_logging(int(sys.argv[2]), sys.argv[3])
    log_uncaught()
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        sys.exit(serve(SocketPort(connection)))


if __name__ == "__main__":
    main()
