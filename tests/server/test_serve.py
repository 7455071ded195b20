"""The server as a process: how it starts, and how it refuses to."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from .serving import COMMAND, Server


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
