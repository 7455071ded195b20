"""The loop that runs an engine: commands in, steps, reports out. The same for a thread and for a process."""

from __future__ import annotations

from typing import Protocol

from .driven import Driven
from .messages import Cancel, Command, Report, Stepped, Stop, Submit


class Port(Protocol):
    """The engine's side of the connection to its client."""

    def receive(self, *, block: bool) -> list[Command]:
        """The commands that have arrived; waits for at least one if `block`."""

    def send(self, report: Report) -> None:
        """Tell the client."""


def run(engine: Driven, port: Port) -> None:
    """Serve commands until Stop arrives; what runs then ends as cancelled."""
    while True:
        commands = next_commands(engine, port)
        stopping = False
        for command in commands:
            if isinstance(command, Submit):
                engine.submit(command.request())
            elif isinstance(command, Cancel):
                engine.cancel(command.request_id)
            elif isinstance(command, Stop):
                stopping = True
        if stopping:
            engine.cancel_all()
        outputs = engine.step()
        port.send(Stepped(outputs=outputs, stats=engine.stats()))
        if stopping:
            return


def next_commands(engine: Driven, port: Port) -> list[Command]:
    """Those that have arrived. With nothing to do, do what nobody waits for until one arrives."""
    while not engine.has_work:
        more = engine.idle()
        commands = port.receive(block=not more)
        if commands or not more:
            return commands
    return port.receive(block=False)
