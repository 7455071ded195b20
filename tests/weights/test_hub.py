"""Fetching from a hub, which here is a small server on this machine that speaks as much of its protocol as is used."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading

import pytest

COMMIT = "a" * 40
CODE = """
import os, sys
from dovetail.errors import CheckpointError
from dovetail.weights import open_checkpoint
try:
    found = open_checkpoint("org/name", revision=sys.argv[1] or None)
    print(found.name, *sorted(os.listdir(found.directory)))
except CheckpointError as error:
    print("refused:", error)
"""


class Hub(http.server.ThreadingHTTPServer):
    """A hub with one model, or with one answer to everything.

    files   what the model consists of
    answer  (status, error code) given to every question
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Questions)
        self.files: dict[str, bytes] = {}
        self.answer: tuple[int, str] | None = None
        self.asked: list[str] = []


class Questions(http.server.BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.server.asked.append(self.path)
        name = self.path.partition(f"/resolve/{COMMIT}/")[2]
        if self.server.answer:
            status, code = self.server.answer
            self.reply(b"", status=status, headers={"X-Error-Code": code})
        elif name in self.server.files:
            content = self.server.files[name]
            etag = hashlib.sha1(content).hexdigest()
            self.reply(content, headers={"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})
        elif "/revision/" in self.path:
            siblings = [{"rfilename": name} for name in self.server.files]
            self.reply(json.dumps({"id": "org/name", "sha": COMMIT, "siblings": siblings}).encode())
        elif "/tree/" in self.path:
            tree = [
                {"type": "file", "path": name, "size": len(content), "oid": "0"}
                for name, content in self.server.files.items()
            ]
            self.reply(json.dumps(tree).encode())
        else:
            self.reply(b"", status=404)

    do_HEAD = do_GET

    def reply(self, content, *, status=200, headers=None):
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@pytest.fixture
def hub():
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(hub, tmp_path, revision="", **environment):
    """What opening org/name prints, and that nothing else is printed: not on a terminal, there is no progress."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, revision],
        env=os.environ
        | {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "HF_HOME": str(tmp_path / "hf")}
        | {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1"}
        | environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "%" not in done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((401, "RepoNotFound"), "org/name is neither a directory here nor a model on the hub"),
        ((404, "RepoNotFound"), "org/name is neither a directory here nor a model on the hub"),
        ((403, "GatedRepo"), "org/name is gated: accept its terms at http://127.0.0.1:"),
        ((404, "RevisionNotFound"), "org/name has no revision 'v2' on the hub"),
        ((400, "Other"), "org/name at revision 'v2' "),
    ],
)
def test_refusal_of_the_hub_is_put_into_words(hub, tmp_path, answer, message):
    hub.answer = answer
    assert ask(hub, tmp_path, "v2").startswith(f"refused: {message}")


def test_hub_that_is_not_there(hub, tmp_path):
    text = ask(hub, tmp_path, HF_ENDPOINT="http://127.0.0.1:1")
    assert text.startswith("refused: org/name is not in the local cache and the hub did not")
    assert "give a local directory" in text


@pytest.mark.defends(
    "code in checkpoints",
    "neither code nor pickles are downloaded",
    without=(
        "dovetail.weights.hub",
        'ALLOW = ["*.safetensors", "*.json", "*.jinja", "tokenizer*"]',
        'ALLOW = ["*"]',
    ),
)
def test_model_is_fetched_without_code_pickles_and_other_formats(hub, tmp_path, directory):
    hub.files = {path.name: path.read_bytes() for path in directory.path.iterdir()}
    wanted = ["org/name", *sorted([*hub.files, "chat_template.jinja"])]
    hub.files |= {"chat_template.jinja": b"x", "modeling.py": b"x", "pytorch_model.bin": b"x"}
    hub.files |= {"onnx/config.json": b"x", "consolidated.safetensors": b"x"}
    assert ask(hub, tmp_path).split() == wanted
    assert ask(hub, tmp_path, HF_HUB_OFFLINE="1").split() == wanted
