"""The bundled model over HTTP on emulated devices says what it says on the reference platform: on one, and on a mesh over two
hosts, each a process of its own."""

import os
import socket
import subprocess
import sys

import pytest
from dovetail_sdk.testing.replies import QUESTIONS, replies

MESH = ("--tensor-parallel-size", "2")


@pytest.fixture(scope="module")
def wanted():
    return replies("reference")


def test_one_device_says_the_same_as_the_reference_platform(wanted):
    assert replies("tpu:cpu") == wanted


def test_two_hosts_say_the_same_as_the_reference_platform(monkeypatch, wanted):
    port = free_ports()
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "localhost,localhost")
    command = [sys.executable, "-m", "dovetail_tpu.follow", "--port", str(port)]
    follower = subprocess.Popen(command, env={**os.environ, "TPU_WORKER_ID": "1"})
    try:
        option = ("--option", f"hosts_port={port}")
        assert replies("tpu:cpu,h1.cpu", *MESH, *option, questions=QUESTIONS[:1]) == wanted[:2]
        assert follower.wait() == 0  # it ends with its leader
    finally:
        follower.kill()
        follower.wait()


def free_ports():
    """The first of two neighbours that are free."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("localhost", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("localhost", port + 1))
            except OSError:
                continue
            return port
