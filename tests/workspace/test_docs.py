"""Every command in the READMEs and docs runs, and every path they name exists."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    page
    for page in [
        *ROOT.glob("*.md"),
        *ROOT.glob("*/README.md"),
        *ROOT.glob("*/*/README.md"),
        *ROOT.glob("docs/*.md"),
    ]
    if ".venv" not in page.parts
)
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
SERVER_URL = "http://127.0.0.1:8000"
NOT_RUN = {
    "make test": "this is it",
    "python -m ci.demo_model.train": "takes hours; tests/demo_model trains for a few steps",
    "python -m ci.demo_model.evaluate core": "the same questions are asked through the server",
    "python -m ci.demo_model.evaluate --overlap": "takes minutes; tests/demo_model looks at a sample",
    "python ci/bench/peers/": "installs other engines and takes an hour; tests/bench tests its parts",
    "pip install": "changes the environment",
    "export": "sets a variable",
}


def blocks(page: Path, language: str) -> list[str]:
    return [body for kind, body in BLOCK.findall(page.read_text()) if kind == language]


def commands() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for body in blocks(page, "sh"):
            for line in body.replace("\\\n", " ").splitlines():
                if line.strip() and not line.startswith("#"):
                    yield str(page.relative_to(ROOT)), line.strip()


def programs() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for body in blocks(page, "python"):
            if "import" in body:
                yield str(page.relative_to(ROOT)), body


def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "HF_HUB_OFFLINE": "1"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server started by a command, until the block ends; `line` is its last start-up line."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.printed: list[str] = []
        self.url = ""

    def __enter__(self) -> Server:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.printed.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                self.url = found.group()
                threading.Thread(target=self._process.stdout.read, daemon=True).start()
                return self
        raise AssertionError("".join(self.printed))

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, 15)
        self._process.wait()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with Server(["dovetail", "serve", "demo", "--port", str(free_port())]) as running:
        yield running.url


@pytest.mark.parametrize(("page", "command"), list(commands()))
def test_command_runs(page: str, command: str, server: str):
    for beginning, reason in NOT_RUN.items():
        if command.startswith(beginning):
            pytest.skip(reason)
    words = shlex.split(command.replace(SERVER_URL, server), comments=True)
    if words[:2] == ["make", "serve"]:
        stamp = Path(sys.prefix) / ".serve"
        if not stamp.exists():
            pytest.skip("this environment was not made by make")
        with Server([*words, f"PORT={free_port()}", f"VENV={sys.prefix}"]) as running:
            assert running.url
        return
    done = subprocess.run(words, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize(("page", "program"), list(programs()))
def test_program_runs(page: str, program: str, server: str):
    program = program.replace(SERVER_URL, server)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    missing = [
        target for target in LINK.findall(page.read_text()) if not (page.parent / target).exists()
    ]
    assert not missing


def test_tests_that_are_named_are_there():
    named = {
        name
        for page in PAGES
        for name in re.findall(r"`(test_\w+)`", page.read_text())
        if not (page.parent / name).exists()
    }
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    there = set(re.findall(r"^(?:async )?def (test_\w+)\(", sources, re.MULTILINE))
    assert named and not named - there
