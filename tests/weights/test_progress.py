"""Progress: seen on a terminal, silent elsewhere."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios

import numpy as np
import pytest
from dovetail.weights import open_checkpoint, open_source, progress
from dovetail.weights.progress import Progress, phase

from .graphs import graph, weight

CODE = """
from dovetail.weights.progress import Progress
bar = Progress("loading weights", 100)
for _ in range(12): bar.advance(10)
bar.close()
"""

LONG = """
import sys, threading
import dovetail.weights.progress as progress
class Watched:
    shown = threading.Event()
    def write(self, text):
        sys.__stderr__.write(text)
        self.shown.set()
    def __getattr__(self, name):
        return getattr(sys.__stderr__, name)
sys.stderr, progress.PATIENCE_S = Watched(), 0.0
with progress.phase("warming up"):
    Watched.shown.wait()
"""


def test_bar_is_drawn_on_a_terminal():
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    subprocess.run([sys.executable, "-c", CODE], stderr=theirs, check=True)
    os.close(theirs)
    text = b""
    while b"100%" not in text:
        text += os.read(ours, 1 << 16)
    os.close(ours)
    assert b"loading weights" in text


def test_bar_is_silent_elsewhere(capfd):
    subprocess.run([sys.executable, "-c", CODE], check=True)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("show", [True, False])
def test_reading_every_weight_fills_the_bar(directory, capsys, show):
    directory.tensors({"w": np.zeros((4, 4), np.float32)})
    source = open_source(
        graph(weight("w", (4, 4))), open_checkpoint(str(directory.path)), progress=show
    )
    for rows in (slice(0, 3), slice(3, 4), slice(0, 4)):
        source.read("w", rows=rows)
    assert ("100%" in capsys.readouterr().err) == show


def test_progress_of_nothing_is_nothing(capsys):
    bar = Progress("loading weights", 0, show=True)
    bar.advance(5)
    bar.close()
    assert capsys.readouterr().err == ""


def test_a_long_phase_is_shown_on_a_terminal_and_taken_off():
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", LONG], stderr=theirs, check=True)
    os.close(theirs)
    text = os.read(ours, 1 << 16)
    os.close(ours)
    assert b"warming up: 0 s" in text and text.endswith(b"\x1b[K")


def test_the_log_tells_elsewhere(monkeypatch, caplog, capfd):
    caplog.set_level("INFO", "dovetail")
    monkeypatch.setattr(progress, "PATIENCE_S", 0.0)
    bar = Progress("loading weights", 100)
    bar.advance(60)
    bar.advance(40)
    with phase("warming up"):
        pass
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2  # none in between: five seconds have not gone by
    assert told[0].startswith("loading_weights bytes=100 of=100 mb_per_s=")
    assert told[1].startswith("phase=warming_up seconds=0.")
    assert capfd.readouterr().err == ""
