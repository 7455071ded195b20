"""The files in deploy/: what they name exists."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from dovetail.cli.options import ENGINE, LOGGING, SERVER
from dovetail.config import EngineConfig
from dovetail.server.serve import ServerConfig
from prometheus_client.parser import text_string_to_metric_families

from tests.server.conftest import Running, make_checkpoint

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
NAME = re.compile(r"\bdovetail:\w+")
OPTIONS = {option.flag for option in (*ENGINE, *SERVER, *LOGGING)} | {"--config"}


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[set[str]]:
    """Names of all samples of a server that has answered, refused and lost a few requests."""
    running = Running(make_checkpoint(tmp_path_factory.mktemp("deploy") / "tiny"))
    try:
        assert running.post("/v1/completions", {"prompt": "x", "max_tokens": 3})[0] == 200
        assert running.post("/v1/completions", b"{")[0] == 400
        text = running.raw("GET", "/metrics")[2].decode()
    finally:
        running.stop()
    families = text_string_to_metric_families(text)
    yield {sample.name for family in families for sample in family.samples}


def expressions(value: Any) -> Iterator[str]:
    """What Prometheus is asked, wherever it stands."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in ("expr", "query") and isinstance(inner, str):
                yield inner
            else:
                yield from expressions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from expressions(inner)


FILES = {
    "grafana.json": lambda: json.loads((DEPLOY / "grafana.json").read_text()),
    "alerts.yaml": lambda: yaml.safe_load((DEPLOY / "alerts.yaml").read_text()),
}


@pytest.mark.parametrize("name", FILES)
def test_metrics_that_are_named_are_there(name: str, exposed: set[str]) -> None:
    asked = [text for text in expressions(FILES[name]()) if text != "prometheus"]
    assert len(asked) > 10
    for text in asked:
        assert NAME.search(text) or text.startswith("up{"), text
        assert set(NAME.findall(text)) <= exposed
        for opening, closing in ("()", "[]", "{}"):
            assert text.count(opening) == text.count(closing), text


def test_the_dashboard_shows_every_metric(exposed: set[str]) -> None:
    shown = set(NAME.findall(" ".join(expressions(FILES["grafana.json"]()))))
    hidden = {name for name in exposed if re.search(r"_(count|sum|created)$", name)}
    assert exposed - hidden <= shown


def test_alerts_are_told_apart_and_say_what_is_wrong() -> None:
    rules = [rule for group in FILES["alerts.yaml"]()["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert "$labels.instance" in rule["annotations"]["summary"]


def test_panels_do_not_overlap() -> None:
    places = [panel["gridPos"] for panel in FILES["grafana.json"]()["panels"]]
    cells = [
        (x, y)
        for p in places
        for x in range(p["x"], p["x"] + p["w"])
        for y in range(p["y"], p["y"] + p["h"])
    ]
    assert len(set(cells)) == len(cells) and max(x for x, _ in cells) < 24


def joined(path: Path) -> list[str]:
    """Its lines without comments, continued ones made one."""
    text = re.sub(r"(?m)^\s*#.*\n", "", path.read_text())
    return [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def test_the_unit_runs_a_command_that_is_there() -> None:
    (line,) = [line for line in joined(DEPLOY / "dovetail.service") if line.startswith("ExecStart")]
    words = shlex.split(line.partition("=")[2])
    assert words[:2] == ["/opt/dovetail/bin/dovetail", "serve"]
    assert {word for word in words if word.startswith("--")} <= OPTIONS


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "dovetail.service"
    text = (DEPLOY / "dovetail.service").read_text()
    unit.write_text(text.replace("/opt/dovetail/bin/dovetail", shutil.which("true") or ""))
    command = ["systemd-analyze", "verify", "--man=no", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True)
    complaints = [line for line in done.stderr.splitlines() if "dovetail.service" in line]
    assert not complaints


INSTRUCTIONS = {
    "FROM", "RUN", "COPY", "USER", "ENV", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK",
    "ENTRYPOINT", "CMD",
}  # fmt: skip


def test_the_container_file_is_made_of_what_is_there() -> None:
    lines = [line.split(maxsplit=1) for line in joined(DEPLOY / "Containerfile")]
    assert {word for word, _ in lines} <= INSTRUCTIONS and lines[0][0] == "FROM"
    for word, rest in lines:
        if word == "COPY" and "--from" not in rest:
            assert (ROOT / rest.split()[0]).exists()
        if word in ("ENTRYPOINT", "CMD"):
            assert all(isinstance(part, str) for part in json.loads(rest))
        if word == "ENV":
            names = {part.partition("=")[0] for part in rest.split()}
            ours = {name for name in names if name.startswith("DOVETAIL_")}
            known = {option.variable for option in (*ENGINE, *SERVER, *LOGGING)}
            assert ours <= known
    extras = tomllib.loads((ROOT / "core/pyproject.toml").read_text())["project"]
    installed = " ".join(rest for word, rest in lines if word == "RUN")
    assert set(re.findall(r"\[(\w+)\]", installed)) <= set(extras["optional-dependencies"])
    users = [rest for word, rest in lines if word == "USER"]
    assert users and users[-1] not in ("0", "root")


def test_the_proxy_takes_bodies_as_large_as_the_server() -> None:
    found = re.search(r"client_max_body_size (\d+)m", (DEPLOY / "nginx.conf").read_text())
    assert found is not None and int(found[1]) << 20 == ServerConfig().max_body_size


def test_the_limits_that_are_documented_hold() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    rows = re.findall(r"^\| [^|]+ \| ([\d.]+) \| `([\w.-]+)` \|$", text, re.MULTILINE)
    flags = {option.flag: option.name for option in (*ENGINE, *SERVER)}
    defaults = {
        f.name: f.default for config in (EngineConfig, ServerConfig) for f in fields(config)
    }
    assert len(rows) > 10
    for value, name in rows:
        if name.startswith("--"):
            assert float(value) == defaults[flags[name]], name
        else:
            module, _, constant = name.rpartition(".")
            assert float(value) == getattr(importlib.import_module(module), constant), name
