"""The commands, as a person at a terminal meets them. The bundled model on the null platform."""

from __future__ import annotations

import http.server
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from dovetail.cli.dispatch import COMMANDS
from dovetail.cli.main import main
from dovetail.cli.options import ENGINE, LOGGING, SERVER

DOVETAIL = [sys.executable, "-m", "dovetail.cli.main"]
NULL = ["--platform", "null"]
SCREEN = 54


def test_help_fits_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    top = capsys.readouterr().out
    assert all(name in top for name in COMMANDS)
    for name in COMMANDS:
        with pytest.raises(SystemExit) as end:
            main([name, "--help"])
        shown = capsys.readouterr().out
        assert end.value.code == 0 and len(shown.splitlines()) <= SCREEN
        assert max(map(len, shown.splitlines())) <= 100


def test_help_all_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for flag in ("--help", "--help-all"):
        with pytest.raises(SystemExit) as end:
            main(["serve", flag])
        assert end.value.code == 0
        shown.append(capsys.readouterr().out)
    short, whole = (set(re.findall(r"^  (--[a-z-]+)", text, re.M)) for text in shown)
    assert whole == {option.flag for option in (*SERVER, *ENGINE, *LOGGING)} | {"--config"}
    hidden = {option.flag for option in (*SERVER, *ENGINE, *LOGGING) if option.rare}
    assert hidden and short == whole - hidden and "--help-all" in shown[0]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["srve"], "did you mean serve?"),
        (["--verson"], "no option"),
        (["serve", "--prot", "1"], "did you mean --port?"),
        (["serve", "--port", "x"], "must be a number"),
        (["serve", "--port", "99999"], "0 to 65535"),
        (["serve", "a", "b"], "'b' is one word too many"),
        (["serve", "--max-num-seqs", "0"], "at least 1"),
        (["serve", "--kv-cache-memory", "lots"], "K, M, G or T"),
        (["explain", "--max-num-seqs", "65537"], "at most 65536"),
        (["explain", "--max-num-batched-tokens", "1048577"], "at most 1048576"),
        (["explain", "--max-model-len", "9" * 30], "--max-model-len"),
        (["explain", "--block-size", "65537"], "at most 65536"),
        (["explain", "--max-queue", "1048577"], "at most 1048576"),
        (["explain", "--kv-cache-memory", "1025T"], "at most 1024T"),
        (["explain", "--kv-cache-memory", "9" * 400], "at most 1024T"),
        (["serve", "--tool-call-parser", "hermez"], "did you mean hermes?"),
        (["explain", "--reasoning-parser", "deepseek-r1"], "did you mean deepseek_r1?"),
        (
            ["serve", "--api-key", "", "--port", "x"],
            "--api-key: '' cannot be used: it must not be empty",
        ),
        (
            ["chat", "--api-key", " ", "--max-tokens", "x"],
            "--api-key: ' ' cannot be used: it must not be empty",
        ),
        (["generate", "x", "--seed", "9" * 23], "--seed"),
        (["generate", "x", "--seed", str(2**64)], f"at most {2**64 - 1}"),
        (["generate", "x", "--max-tokens", str(2**31)], f"at most {2**31 - 1}"),
        (["bench", "--requests", "0"], "at least 1"),
        (["generate"], "PROMPT"),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], words: list[str], hint: str
) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    error = capsys.readouterr().err
    assert end.value.code == 2 and error.count("\n") == 1
    assert error.startswith("error: ") and hint in error


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["explain", "dmo"], "did you mean demo?"),
        (["explain", "demo", "--platform", "abacus"], "abacus"),
        (["explain", "demo", *NULL, "--config", "/nowhere.toml"], "/nowhere.toml"),
        (["generate", "", *NULL], "the prompt is empty"),
        (["chat", "http://127.0.0.1:9", *NULL], "cannot be reached"),
        (["bench", "http://127.0.0.1:port"], "no URL"),
        (["bench", *NULL, "--prompt-len", "3000"], "the prompt has 3000 tokens"),
    ],
)
def test_what_does_not_work_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], words: list[str], hint: str
) -> None:
    assert main(words) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and hint in error


def test_platforms(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["platforms"]) == 0
    assert "null:0" in capsys.readouterr().out
    assert main(["platforms", "--json"]) == 0
    found = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert found["null"]["usable"] and found["null"]["devices"][0]["id"] == "0"


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "demo", *NULL]) == 0
    out = capsys.readouterr().out
    assert "rms_norm" in out
    assert "tool calls hermes, reasoning none (by the chat template)" in out
    assert main(["explain", "demo", *NULL, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["platform"] == "null:0"
    assert main(["explain", "demo", *NULL, "--graph"]) == 0
    assert "attention" in capsys.readouterr().out


def run(*words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([*DOVETAIL, *words], input=text, capture_output=True, text=True)


def test_generate_writes_text_or_json() -> None:
    plain = run("generate", "Hello", *NULL, "--max-tokens", "12", "--temperature", "0")
    assert plain.returncode == 0 and plain.stderr == ""
    as_json = run(
        "generate", "-", *NULL, "--max-tokens", "12", "--temperature", "0", "--json", text="Hello"
    )
    assert json.loads(as_json.stdout)["text"] == plain.stdout.removesuffix("\n")
    chat = run("generate", "Hello", *NULL, "--chat", "--max-tokens", "5")
    assert chat.returncode == 0


def test_generate_of_no_tokens_writes_none() -> None:
    done = run("generate", "Hello", *NULL, "--max-tokens", "0")
    assert done.returncode == 0 and done.stdout == "\n"


def test_generate_refuses_what_the_context_does_not_hold() -> None:
    done = run("generate", "-", *NULL, text="word " * 9000)
    assert done.returncode == 1 and "2048" in done.stderr and done.stderr.count("\n") == 1


def test_bench_measures_a_model() -> None:
    done = run("bench", *NULL, "--requests", "6", "--output-len", "7", "--json")
    result = json.loads(done.stdout)
    assert done.returncode == 0 and result["output_tokens_per_s"] > 0
    assert result["first_token_ms_p99"] >= result["first_token_ms_p50"] > 0


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = subprocess.Popen(
        [*DOVETAIL, "serve", *NULL, "--port", "0", "--api-key", "k"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    server.stdout.readline()
    found = re.search(r"http://[\d.:]+", server.stdout.readline())
    assert found is not None
    yield found[0]
    server.send_signal(signal.SIGTERM)
    server.communicate()


def test_bench_measures_a_server(url: str) -> None:
    words = ["bench", url, "--requests", "5", "--output-len", "9", "--api-key", "k", "--json"]
    result = json.loads(run(*words).stdout)
    assert result["model"] == "demo" and result["requests_per_s"] > 0


def test_a_server_that_refuses_is_told(url: str) -> None:
    done = run("bench", url, "--requests", "1")
    assert done.returncode == 1 and "401" in done.stderr and done.stderr.count("\n") == 1


def test_a_server_that_refuses_the_load_is_told_once(url: str) -> None:
    done = run("bench", url, "--api-key", "k", "--prompt-len", "3000")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "answered 400: the prompt has 3000 tokens" in done.stderr


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        page = b"<!doctype html><title>Welcome</title>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *words: object) -> None:
        pass


def test_a_server_of_something_else_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        status = main(["chat", f"http://127.0.0.1:{server.server_port}"])
        thread.join()
    error = capsys.readouterr().err
    assert status == 1 and error.count("\n") == 1 and "no OpenAI-compatible server" in error


LOGGED = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO dovetail\.engine "


@pytest.mark.parametrize("words", [["explain"], ["generate", "x", "--max-tokens", "1"]])
@pytest.mark.parametrize("source", ["flag", "environment", "file"])
def test_the_log_level_reaches_this_process_and_the_engines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], source: str
) -> None:
    """`explain` chooses the platform in this process, `generate` in the engine's."""
    if source == "flag":
        words = [*words, "--log-level", "info"]
    elif source == "environment":
        monkeypatch.setenv("DOVETAIL_LOG_LEVEL", "info")
    else:
        (tmp_path / "x.toml").write_text('log-level = "info"')
        words = [*words, "--config", str(tmp_path / "x.toml")]
    done = run(*words, *NULL)
    assert done.returncode == 0 and re.search(LOGGED + "platform=null:0", done.stderr, re.MULTILINE)


INTERRUPTED = """
import os, signal, sys

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits it ignored

class Interrupt:
    def find_spec(self, name, path, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
from dovetail.cli.main import main
sys.exit(main(["serve", "--platform", "null", "--port", "0"]))
"""


@pytest.mark.parametrize("module", ["argparse", "dovetail.cli.options", "numpy", "uvloop"])
def test_ctrl_c_during_the_imports_ends_it_quietly(module: str) -> None:
    command = [sys.executable, "-c", INTERRUPTED, module]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


SCRIPT = "Hello\n/retry\n/system Be brief.\n/clear\n/nothing\n/help\nAgain\n/exit\nnever read\n"


def test_chat_with_a_server_and_with_a_model(url: str) -> None:
    options = ["--max-tokens", "6", "--temperature", "0"]
    remote = run("chat", url, "--api-key", "k", *options, text=SCRIPT)
    local = run("chat", *NULL, *options, text=SCRIPT)
    assert remote.returncode == local.returncode == 0
    assert remote.stdout == local.stdout
    assert "no command /nothing" in remote.stdout and "/clear" in remote.stdout


def test_ctrl_c_ends_the_reply_and_not_the_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Impatient(io.StringIO):
        """Sends the signal as soon as the first piece of a reply is shown."""

        sent = False

        def write(self, text: str) -> int:
            if text and not self.sent:
                self.sent = True
                os.kill(os.getpid(), signal.SIGINT)
            return super().write(text)

    shown = Impatient()
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hello\n/exit\n"))
    monkeypatch.setattr(sys, "stdout", shown)
    assert main(["chat", *NULL]) == 0
    assert shown.getvalue().rstrip().endswith("(stopped)")
