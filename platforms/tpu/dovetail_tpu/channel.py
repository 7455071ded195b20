"""Messages between the hosts of a mesh: calls of the contract with their arrays, over TCP.

A message is made of records of the contract and of the graph, of plain values and of NumPy arrays, and nothing else can be made
from one (dovetail_sdk.mesh.wire). Nobody is asked who he is: as for jax's own coordinator, the network between the hosts of a
slice must be theirs alone.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

from dovetail_sdk.mesh.wire import decode, encode

LENGTH = struct.Struct("<Q")


class Channel:
    """A connection to one other host. One thread at a time may send, and one receive."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = connection
        self._incoming = connection.makefile("rb")

    def send(self, message: Any) -> None:
        """Raises OSError where the other one is gone, NotTold for what is no message."""
        data = encode(message)
        self._connection.sendall(LENGTH.pack(len(data)) + data)

    def receive(self) -> Any:
        """The next message. Raises EOFError where the other one is gone."""
        (length,) = LENGTH.unpack(self._whole(LENGTH.size))
        return decode(self._whole(length))

    def _whole(self, size: int) -> bytes:
        try:
            data = self._incoming.read(size)
        except OSError as error:
            raise EOFError(str(error)) from error
        if len(data) < size:
            raise EOFError("the connection was closed")
        return data

    def close(self) -> None:
        """Twice does no harm."""
        self._incoming.close()
        self._connection.close()
