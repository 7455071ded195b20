"""Which hosts make a slice, what their devices are called, and what they let each other say."""

import socket
from dataclasses import dataclass

import numpy as np
import pytest
from dovetail.errors import PlatformError
from dovetail.platform import Batch, Shape
from dovetail_sdk.mesh.wire import NotTold
from dovetail_tpu.channel import Channel
from dovetail_tpu.hosts import Hosts, Place, check_whole, hosts_here, place_of
from dovetail_tpu.platform import TpuPlatform


def test_the_environment_says_which_hosts_there_are():
    names = {"TPU_WORKER_HOSTNAMES": "a,b,c"}
    assert hosts_here(names) == Hosts(("a", "b", "c"), 0)
    assert list(hosts_here(names).others) == [1, 2]
    led = hosts_here({**names, "TPU_WORKER_ID": "2"})
    assert led.own == 2 and not list(led.others)
    for alone in ({}, {"TPU_WORKER_HOSTNAMES": "localhost"}, {**names, "TPU_WORKER_ID": "3"}):
        assert hosts_here(alone) == Hosts()


def test_the_first_host_lists_the_devices_of_the_others(monkeypatch):
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "a,b")
    listed = {info.id: info for info in TpuPlatform().probe()}
    assert "on b" in listed["h1.cpu3"].description and listed["h1.cpu3"].emulated
    monkeypatch.setenv("TPU_WORKER_ID", "1")
    assert not [info for info in TpuPlatform().probe() if info.id.startswith("h")]


def test_ids_say_where_a_device_is():
    found = [place_of(name) for name in ("0", "3", "cpu", "cpu2", "h2.1", "h1.cpu")]
    assert found == [Place(0, 0), Place(0, 3), Place(0, 0), Place(0, 2), Place(2, 1), Place(1, 0)]


def test_a_mesh_that_leaves_a_host_out_is_refused_by_name():
    hosts = Hosts(("a", "b", "c"))
    check_whole([Place(0, 0), Place(0, 1)], hosts)
    with pytest.raises(PlatformError, match=r"2 \(c\)"):
        check_whole([Place(0, 0), Place(1, 0)], hosts)


@dataclass
class Stranger:
    text: str


def test_messages_are_records_of_the_contract_and_nothing_else():
    none = np.zeros(0, np.int32)
    batch = Batch(
        none, none[None], none, none, none, (none,), (none,), np.arange(3, dtype=np.int32)
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        here = Channel(socket.create_connection(server.getsockname()))
        there = Channel(server.accept()[0])
    here.send(("run", (1, batch, Shape(1, 2, 3, 4))))
    name, arguments = there.receive()
    assert name == "run" and arguments[2] == Shape(1, 2, 3, 4)
    np.testing.assert_array_equal(arguments[1].outputs, [0, 1, 2])
    for bad in (print, Stranger("x"), np.load):
        with pytest.raises(NotTold):
            here.send(("run", (bad,)))
    here.close()
    with pytest.raises(EOFError):
        there.receive()
    there.close()
