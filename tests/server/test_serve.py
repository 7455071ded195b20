"""The server as a process: how it starts, refuses to start, and ends."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import Patience, exit_status, until

SLOW, SOME = "fault:slow=0.01", 300
"""A device on which so many tokens take seconds."""
COMMAND = [sys.executable, "-m", "dovetail.cli.main", "serve", "--platform", "null"]


class Server:
    """`dovetail serve` on a free port."""

    def __init__(self, model: Path | str, *more: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, str(model), "--port", "0", *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        first, self.line = self.process.stdout.readline(), self.process.stdout.readline()
        found = re.search(r"(http://127\.0\.0\.1:(\d+))", self.line)
        if not first.startswith(("engine: null", "engine: fault")) or found is None:
            self.process.kill()
            raise AssertionError((first, self.line, self.process.communicate()))
        self.url, self.port = found[1], int(found[2])

    def status(self, path: str) -> int:
        try:
            with urllib.request.urlopen(self.url + path) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def post(self, path: str, body: Any) -> int:
        """The status of the answer."""
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def stream(self, max_tokens: int) -> Any:
        """A streamed completion that has begun."""
        body = {"prompt": "x", "max_tokens": max_tokens, "ignore_eos": True, "stream": True}
        request = urllib.request.Request(
            f"{self.url}/v1/completions",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        answer = urllib.request.urlopen(request)
        assert answer.readline().startswith(b"data: ")
        return answer

    def children(self) -> list[int]:
        task = Path(f"/proc/{self.process.pid}/task")
        return [
            int(pid) for each in task.iterdir() for pid in (each / "children").read_text().split()
        ]

    def end(self, *signals: int) -> int:
        for number in signals:
            self.process.send_signal(number)
        return exit_status(self.process)


@pytest.fixture
def started() -> Iterator[list[Server]]:
    """Servers to be killed if a test fails to stop them."""
    servers: list[Server] = []
    yield servers
    for server in servers:
        server.process.kill()
        server.process.communicate()


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    """A checkpoint with a context that no test fills."""
    directory = tmp_path_factory.mktemp("serve") / "endless"
    shutil.copytree(checkpoint, directory)
    config = json.loads((directory / "config.json").read_text())
    config["max_position_embeddings"] = 1_000_000
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def test_the_ready_line_is_a_command_to_copy(started: list[Server], checkpoint: Path) -> None:
    server = Server(checkpoint, "--served-model-name", "mine", "--served-model-name", "other")
    started.append(server)
    words = shlex.split(server.line.partition("try: ")[2])
    assert words[0] == "curl" and words[1].startswith(server.url) and "mine" in server.line
    name, _, value = words[words.index("-H") + 1].partition(": ")
    request = urllib.request.Request(words[1], words[words.index("-d") + 1].encode(), {name: value})
    with urllib.request.urlopen(request) as answer:
        assert json.loads(answer.read())["model"] == "mine"
    assert server.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("more", [[], ["--in-process"]])
def test_a_signal_ends_an_idle_server(
    started: list[Server], checkpoint: Path, number: int, more: list[str]
) -> None:
    server = Server(checkpoint, *more)
    started.append(server)
    engines = server.children()
    assert len(engines) == (0 if more else 1)
    assert server.end(number) == 0
    assert not any(os.path.exists(f"/proc/{pid}/exe") and _alive(pid) for pid in engines)
    assert server.process.stderr is not None and server.process.stderr.read() == ""


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def whole(stream: Any) -> bool:
    """Whether a stream, read as far as it goes, has all the tokens that were asked for."""
    with contextlib.suppress(http.client.IncompleteRead, ConnectionError):
        return b'"finish_reason":"length"' in stream.read()
    return False


@pytest.mark.defends(
    "a signal to stop",
    "running requests are finished first, and the status is 0",
    without=(
        "dovetail.server.serve",
        "app.draining = True",
        "app.draining = web.force_exit = True",
    ),
)
def test_running_requests_are_finished_after_a_signal(started: list[Server], endless: Path) -> None:
    server = Server(endless, "--platform", SLOW)
    started.append(server)
    stream = server.stream(SOME)
    server.process.send_signal(signal.SIGTERM)
    until("the server takes no more requests", lambda: server.status("/ready") != 200)
    assert server.status("/health") == 200
    assert server.post("/v1/completions", {"prompt": "x"}) == 503
    assert whole(stream)
    assert exit_status(server.process) == 0


@pytest.mark.defends(
    "a signal to stop",
    "a second signal waits for nobody",
    without=("dovetail.server.serve", "web.force_exit = web.should_exit = True", "pass"),
)
def test_a_second_signal_does_not_wait(started: list[Server], endless: Path) -> None:
    server = Server(endless, "--platform", SLOW)
    started.append(server)
    stream = server.stream(SOME)
    server.process.send_signal(signal.SIGTERM)
    until("the server takes no more requests", lambda: server.status("/ready") != 200)
    server.process.send_signal(signal.SIGTERM)
    assert not whole(stream)
    assert exit_status(server.process) == 0


@pytest.mark.defends(
    "a signal to stop",
    "requests that take longer than they may are ended",
    without=(
        "dovetail.server.serve",
        "if asyncio.get_running_loop().time() > deadline:",
        "if False:",
    ),
)
def test_the_timeout_of_the_shutdown_holds(started: list[Server], endless: Path) -> None:
    server = Server(endless, "--platform", SLOW, "--shutdown-timeout-s", "0")
    started.append(server)
    stream = server.stream(SOME)
    server.process.send_signal(signal.SIGTERM)
    assert not whole(stream)
    assert exit_status(server.process) == 0


@pytest.mark.defends(
    "the engine ends or hangs",
    "its requests end with an error at once, and another is started",
    without=(
        "dovetail.engine.supervised",
        "if self._fruitless > self._config.max_restarts or self._config.max_restarts == 0:",
        "if True:",
    ),
)
def test_an_engine_that_dies_is_told_and_started_again(
    started: list[Server], endless: Path
) -> None:
    server = Server(endless)
    started.append(server)
    for _ in range(3):
        stream = server.stream(900_000)
        (engine,) = server.children()
        os.kill(engine, signal.SIGKILL)
        error = last_error(stream)
        assert error["code"] == "service_unavailable"
        until("another engine runs", lambda: server.status("/health") == 200)
        assert server.children() != [engine]
    assert server.end(signal.SIGTERM) == 0


@pytest.mark.defends(
    "the engine ends or hangs",
    "a step that takes too long is the end of the engine",
    without=(
        "dovetail.engine.supervised",
        "return limit > 0 and self._client.silent_s() > limit",
        "return False",
    ),
)
def test_an_engine_that_hangs_is_killed_and_started_again(
    started: list[Server], endless: Path
) -> None:
    server = Server(endless, "--platform", "fault:hang@5", "--step-timeout-s", "1")
    started.append(server)
    before = server.children()
    error = last_error(server.stream(900_000))
    assert "a step took more than 1 s" in error["message"]
    until("another engine runs", lambda: server.status("/ready") == 200)
    assert server.children() != before


@pytest.mark.defends(
    "the engine ends or hangs",
    "an engine does not outlive its server, also while it hangs",
    without=("dovetail.engine.worker", "    die_with_parent()\n    signal", "    signal"),
)
def test_a_hanging_engine_does_not_outlive_a_killed_server(
    started: list[Server], endless: Path
) -> None:
    server = Server(endless, "--platform", "fault:hang@5")
    started.append(server)
    (engine,) = server.children()
    stream = server.stream(900_000)
    stream.readline()
    server.end(signal.SIGKILL)
    stream.close()
    try:
        until(f"engine {engine} has ended with its server", lambda: not _alive(engine))
    finally:
        if _alive(engine):
            os.kill(engine, signal.SIGKILL)


@pytest.mark.defends(
    "the engine ends or hangs",
    "an engine that keeps dying ends the server with status 1",
    without=(
        "dovetail.server.serve",
        'log.error("the engine is gone; the server stops")\n            return 1',
        "return 0",
    ),
)
def test_an_engine_that_keeps_dying_ends_the_server(started: list[Server], endless: Path) -> None:
    narrow = (
        "--max-num-batched-tokens",
        "8",
        "--max-num-seqs",
        "8",
    )  # so that step 5 is still prompt
    server = Server(endless, "--platform", "fault:device-lost@5", "--max-restarts", "1", *narrow)
    started.append(server)
    answers: list[int] = []
    patience = Patience("the server has given up on its engine")
    while server.process.poll() is None:
        patience.look()
        with contextlib.suppress(OSError):
            answers.append(server.status("/health"))
            server.post("/v1/completions", {"prompt": [1] * 90, "max_tokens": 4})
    assert exit_status(server.process) == 1
    assert set(answers) <= {200, 503}


def last_error(stream: Any) -> dict[str, Any]:
    """The error that ends a stream, before [DONE]."""
    events = [line for line in stream if line.startswith(b"data: ")]
    assert events[-1] == b"data: [DONE]\n"
    error: dict[str, Any] = json.loads(events[-2].removeprefix(b"data: "))["error"]
    return error


def test_an_engine_that_dies_ends_the_server_if_it_is_not_to_be_started_again(
    started: list[Server], endless: Path
) -> None:
    server = Server(endless, "--max-restarts", "0")
    started.append(server)
    stream = server.stream(900_000)
    (engine,) = server.children()
    os.kill(engine, signal.SIGKILL)
    assert last_error(stream)["code"] == "service_unavailable"
    assert exit_status(server.process) == 1


def refused(*words: str) -> str:
    """The one line that a server which does not start leaves behind."""
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.defends(
    "the port is in use",
    "one line says so, and the status is 1",
    without=("dovetail.server.serve", "if error.errno == errno.EADDRINUSE:", "if False:"),
)
def test_a_port_in_use_is_said(checkpoint: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"port {port}" in refused(str(checkpoint), "--port", port)


def test_an_address_that_is_not_ours_is_said(checkpoint: Path) -> None:
    assert "192.0.2.1" in refused(str(checkpoint), "--host", "192.0.2.1", "--port", "0")


def test_a_model_that_is_not_there_is_said(checkpoint: Path) -> None:
    wrong = str(checkpoint)[:-1] + "x"
    assert f"did you mean {checkpoint}?" in refused(wrong, "--port", "0")


@pytest.mark.defends(
    "a bad checkpoint",
    "one line names the file and what is wrong, and the status is 1",
    without=(
        "dovetail.weights.json_file",
        'raise CheckpointError(f"{where} is not valid JSON: {error}") from None',
        "raise",
    ),
)
@pytest.mark.parametrize(
    "name", ["tokenizer.json", "config.json", "tokenizer_config.json", "model.safetensors"]
)
def test_a_damaged_file_is_named(checkpoint: Path, tmp_path: Path, name: str) -> None:
    directory = tmp_path / "damaged"
    shutil.copytree(checkpoint, directory)
    (directory / name).write_bytes((directory / name).read_bytes()[:50])
    assert name in refused(str(directory), "--port", "0")


@pytest.mark.defends(
    "a bad checkpoint",
    "whatever is wrong with a model is told without a traceback",
    without=[
        (
            "dovetail.cli.main",
            "    except DovetailError as error:",
            "    except ZeroDivisionError as error:",
        ),
        (
            "dovetail.cli.main",
            "    except Exception as error:\n        import",
            "    except ZeroDivisionError as error:\n        import",
        ),
    ],
)
def test_a_tokenizer_of_another_model_is_named(checkpoint: Path, tmp_path: Path) -> None:
    directory = tmp_path / "mixed"
    shutil.copytree(checkpoint, directory)
    tokenizer = json.loads((directory / "tokenizer.json").read_text())
    tokenizer["added_tokens"].append(
        {**tokenizer["added_tokens"][0], "id": 600, "content": "<extra>"}
    )
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
    config = json.loads((directory / "config.json").read_text())
    config["vocab_size"] = 300
    (directory / "config.json").write_text(json.dumps(config))
    assert "tokenizer.json" in refused(str(directory), "--port", "0")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes no certificate without openssl")
def test_https_keys_from_a_file_and_an_administrator(checkpoint: Path, tmp_path: Path) -> None:
    cert, key, keys = (str(tmp_path / name) for name in ("cert.pem", "key.pem", "keys.toml"))
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    make += ["-keyout", key, "-out", cert, "-subj", "/CN=localhost"]
    make += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(make, check=True, capture_output=True)
    Path(keys).write_text('[[key]]\nname = "a"\nkey = "from-file"\nrequests_per_minute = 1\n')
    flags = ["--ssl-certfile", cert, "--ssl-keyfile", key, "--api-key-file", keys]
    process = subprocess.Popen(
        [*COMMAND, str(checkpoint), "--port", "0", *flags, "--admin-key", "adm"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline(), process.stdout.readline()]
        found = re.search(r"https://127\.0\.0\.1:\d+", lines[1])
        assert found is not None and "YOUR_KEY" in lines[1]
        trust = ssl.create_default_context(cafile=cert)

        def status(path: str, bearer: str, data: bytes | None = None) -> int:
            named = {"authorization": f"Bearer {bearer}", "content-type": "application/json"}
            request = urllib.request.Request(found[0] + path, data, named)
            try:
                with urllib.request.urlopen(request, context=trust) as answer:
                    return int(answer.status)
            except urllib.error.HTTPError as error:
                return error.code

        body = b'{"prompt": "x", "max_tokens": 1}'
        assert status("/v1/completions", "from-file", body) == 200
        assert status("/v1/completions", "from-file", body) == 429
        assert status("/v1/models", "adm") == status("/admin/log-level", "from-file") == 401
        assert status("/admin/log-level", "adm") == 200
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--ssl-certfile", "{bad}"], "cannot be used for HTTPS"),
        (["--ssl-keyfile", "{bad}"], "needs --ssl-certfile"),
        (["--api-key-file", "{bad}"], "must consist of"),
        (["--api-key-file", "/none/such"], "cannot be read"),
    ],
)
def test_files_that_cannot_be_used_are_named(
    checkpoint: Path, tmp_path: Path, flags: list[str], words: str
) -> None:
    bad = tmp_path / "bad"
    bad.write_text("")
    given = [flag.replace("{bad}", str(bad)) for flag in flags]
    done = subprocess.run([*COMMAND, str(checkpoint), *given], capture_output=True, text=True)
    assert done.returncode != 0 and words in done.stderr and "Traceback" not in done.stderr
