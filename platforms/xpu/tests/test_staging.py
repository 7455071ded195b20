"""The ring through which the small arrays of steps go, on PoCL."""

from threading import Thread

import numpy as np
import pytest
from dovetail_sdk.opencl import Machine, OpenclBackend, Programs
from dovetail_sdk.opencl.staging import RING_BYTES, Staging

WORDS = 4096
"""Of a piece at most."""


def test_arrays_arrive_over_many_laps_of_the_ring(pocl):
    """Nobody waits for the arrays, so that pieces are written to again while later ones are still to be read."""
    machine = Machine(pocl)
    backend = OpenclBackend(machine, Programs(machine, None))
    rng = np.random.default_rng(0)
    sent = bytes_sent = 0
    while bytes_sent < 5 * RING_BYTES:
        arrays = [
            rng.integers(0, 1 << 30, rng.integers(1, WORDS), np.int32)
            for _ in range(rng.integers(1, 200))
        ]
        uploaded = [backend.upload(array) for array in arrays]
        for array, found in zip(arrays, uploaded, strict=True):
            assert np.array_equal(backend.download(found), array)
        sent += len(arrays)
        bytes_sent += sum(array.nbytes for array in arrays)
    assert sent > 1000


def test_pieces_that_were_read_are_let_go_long_before_the_ring_is_full(pocl):
    """Each costs time at every later array, and the driver's memory."""
    machine = Machine(pocl)
    staging = Staging(machine)
    target = machine.cl.Buffer(machine.context, machine.cl.mem_flags.READ_WRITE, 64)
    for _ in range(50):
        for _ in range(10):
            staging.send(target, np.arange(16, dtype=np.int32))
        machine.finish()
    assert staging.pieces <= 10


QUARTER, LESS, LITTLE = RING_BYTES // 4, RING_BYTES // 100 * 24, RING_BYTES // 100


@pytest.mark.parametrize(
    ("read", "held", "last"),
    [
        pytest.param([], [QUARTER] * 4, QUARTER, id="full"),
        pytest.param([LESS] * 4, [LITTLE, *[LESS] * 4], LESS, id="the-end-of-the-lap-before"),
    ],
)
def test_a_full_ring_waits_for_its_oldest_pieces(read, held, last, pocl):
    """Pieces `held` lie behind a barrier that the host holds; there is no room for `last` before they are read."""
    machine = Machine(pocl)
    cl = machine.cl
    staging = Staging(machine)
    given = [np.full(size, number, np.uint8) for number, size in enumerate((*read, *held, last))]
    targets = [cl.Buffer(machine.context, cl.mem_flags.READ_WRITE, len(array)) for array in given]
    first = len(read)
    for target, array in zip(targets[:first], given, strict=False):
        staging.send(target, array)
    machine.finish()
    gate = cl.UserEvent(machine.context)
    cl.enqueue_barrier(machine.queue, wait_for=[gate])
    for target, array in zip(targets[first:-1], given[first:], strict=False):
        staging.send(target, array)
    assert staging.pieces == len(held)
    sending = Thread(target=staging.send, args=(targets[-1], given[-1]))
    sending.start()
    sending.join(0.2)
    assert sending.is_alive()
    gate.set_status(cl.command_execution_status.COMPLETE)
    sending.join()
    for target, array in zip(targets, given, strict=True):
        found = np.empty_like(array)
        cl.enqueue_copy(machine.queue, found, target)
        assert np.array_equal(found, array)
