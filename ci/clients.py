"""Clients that people use (ci/clients.toml) against a server of this tree, each in a fresh environment.

python ci/clients.py [CLIENT ...]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = "import sys; from importlib.metadata import version as v; print(*(f'{n} {v(n)}' for n in sys.argv[1:]), flush=True)"
PLACES = {**os.environ, "DOVETAIL_TEST_KEY": "sk-clients"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """One entry; the fields are explained there."""

    name: str
    requires: list[str]
    test: str


def read(path: Path = ROOT / "ci/clients.toml") -> tuple[Client, ...]:
    """All entries."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return tuple(Client(**entry) for entry in table["client"])


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """The address of a server with the bundled model, until the block ends."""
    command = [sys.executable, "-m", "dovetail.cli.main", "serve", "demo", "--port", "0"]
    command += ["--api-key", PLACES["DOVETAIL_TEST_KEY"]]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        for line in server.stdout:
            if found := re.search(r"http://[^ ;]+:\d+", line):
                yield found[0]
                return
        raise SystemExit(f"error: the server ended with status {server.wait()}")
    finally:
        server.terminate()
        server.wait()


def passes(client: Client, url: str, directory: Path) -> bool:
    """Install a client and run its tests."""
    venv.create(directory, with_pip=True)
    python = str(directory / "bin/python")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    test = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(ROOT / client.test)]
    names = [re.split(r"[\[<>=]", required)[0] for required in client.requires]
    told = [python, "-c", VERSIONS, *names]
    places = {k: v for k, v in PLACES.items() if k != "PYTHONPATH"} | {"DOVETAIL_TEST_URL": url}
    return all(
        subprocess.run(command, cwd=ROOT, env=places).returncode == 0
        for command in ([*install, "pytest", *client.requires], told, test)
    )


def run(clients: Sequence[Client]) -> int:
    """1 if one fails."""
    failed = []
    with serving() as url:
        for client in clients:
            print(f"{client.name}:", flush=True)
            with tempfile.TemporaryDirectory(prefix="client-") as directory:
                if not passes(client, url, Path(directory)):
                    failed.append(client.name)
    print(f"failed: {', '.join(failed)}" if failed else f"all {len(clients)} pass")
    return int(bool(failed))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("client", nargs="*", help="which; all if left out")
    named = parser.parse_args().client
    return run([client for client in read() if not named or client.name in named])


if __name__ == "__main__":
    sys.exit(main())
