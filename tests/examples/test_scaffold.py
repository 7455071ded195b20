"""`dovetail plugin new` writes a distribution that builds, is found, and passes conformance as it is."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
from dovetail.cli import plugin
from dovetail.cli.parser import Parser
from dovetail.cli.settings import merge
from dovetail.errors import ConfigError
from dovetail.plugins import discover, select
from dovetail_sdk import conformance, scaffold
from projects import EXAMPLES, entry_point, platform_of, project

QUICK = ("contract", "cache", "steps", "programs")


def new(*words: str) -> int:
    parser = Parser(prog="dovetail plugin")
    plugin.add_arguments(parser)
    return plugin.run(parser.parse_args(["new", *words]), merge({}, environment={}))


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    return scaffold.create("my_chip", tmp_path_factory.mktemp("scaffold"))


def test_the_command_writes_a_project_and_says_what_to_do_next(tmp_path, capsys):
    assert new("acme", "--directory", str(tmp_path)) == 0
    printed = capsys.readouterr().out
    assert str(tmp_path / "dovetail-acme") in printed
    assert (
        "dovetail conformance acme" in printed and "dovetail serve demo --platform acme" in printed
    )
    assert {path.name for path in (tmp_path / "dovetail-acme").iterdir()} == {
        ".github",
        ".gitignore",
        "LICENSE",
        "README.md",
        "dovetail_acme",
        "pyproject.toml",
        "tests",
    }


@pytest.mark.parametrize("layer", QUICK)
def test_a_new_plugin_passes_conformance(written, layer):
    with project(written, "dovetail_my_chip"):
        card = conformance.run(platform_of("dovetail_my_chip", "my_chip"), layers=[layer])
    assert [f"{o.check}: {o.reason}" for o in card.outcomes if o.status == "failed"] == []
    assert card.outcomes


def test_a_new_plugin_runs_its_own_kernel_and_the_hosts(written):
    with project(written, "dovetail_my_chip"):
        card = conformance.run(platform_of("dovetail_my_chip", "my_chip"), ops="^(rms_norm|add)$")
    assert {outcome.status for outcome in card.outcomes} == {"passed"}


def test_a_new_plugin_is_found_by_its_entry_point(written):
    manifest = tomllib.loads((written / "pyproject.toml").read_text())
    assert manifest["project"]["name"] == "dovetail-my-chip"
    (point,) = manifest["project"]["entry-points"]["dovetail.platforms"].items()
    assert point == ("my_chip", "dovetail_my_chip:MyChipPlatform")
    with project(written, "dovetail_my_chip"):
        found = discover([entry_point("dovetail_my_chip", "my_chip", "MyChipPlatform")])
        assert str(select("my_chip", found)) == "my_chip:0"


def test_nothing_of_the_templates_name_is_left(written):
    for path in written.rglob("*"):
        assert "acme" not in str(path.relative_to(written)).lower()
        if path.is_file() and path.suffix != ".pyc":
            assert "acme" not in path.read_text().lower(), path


@pytest.mark.parametrize(
    "name", ["Acme", "9acme", "a-b", "a__b", "_a", "class", "match", "", "é", "a b"]
)
def test_a_name_that_python_or_a_user_could_not_write_is_refused(name, tmp_path):
    with pytest.raises(ConfigError, match="cannot be called"):
        scaffold.create(name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_taken_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="'reference' is installed"):
        new("reference", "--directory", str(tmp_path))
    with pytest.raises(ConfigError, match="package dovetail_sdk is installed"):
        new("sdk", "--directory", str(tmp_path))


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "dovetail-acme").mkdir()
    (tmp_path / "dovetail-acme" / "mine").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"):
        new("acme", "--directory", str(tmp_path))


def test_a_missing_sdk_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "dovetail_sdk.scaffold", None)
    with pytest.raises(ConfigError, match="pip install dovetail-sdk"):
        new("acme", "--directory", str(tmp_path))


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The Python of an environment in which a new plugin and the toy are installed, built by their own backend."""
    pytest.importorskip("hatchling", reason="plugins are built with hatchling, without a download")
    folder = tmp_path_factory.mktemp("installed")
    made = scaffold.create("acme", folder)
    shutil.copytree(EXAMPLES / "toy", folder / "toy")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (packages / "workspace.pth").write_text("\n".join([*filter(None, sys.path), ""]))
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command = [*pip, "--no-deps", "--no-build-isolation", str(made), str(folder / "toy")]
    subprocess.run(command, check=True, cwd=folder)
    return python


def dovetail(python: Path, *words: str) -> str:
    command = [str(python), "-m", "dovetail.cli.main", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=python.parent)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_new_plugin_installs_and_is_listed(installed):
    listed = dovetail(installed, "platforms")
    assert "acme:0  acme, in NumPy for now" in listed and "toy:0  this computer" in listed


@pytest.mark.slow
@pytest.mark.parametrize("name", ["acme", "toy"])
def test_an_installed_plugin_answers_as_the_reference_does(installed, name):
    question = ["generate", "--chat", "What is the opposite of hot?", "--max-tokens", "8"]
    question += ["--temperature", "0", "--dtype", "f32", "--platform"]
    assert dovetail(installed, *question, name) == dovetail(installed, *question, "reference")


@pytest.mark.slow
def test_the_tests_of_a_new_plugin_run(installed):
    """The three lines in tests/, on the layer that is quickest."""
    tests = installed.parents[2] / "dovetail-acme"
    command = [str(installed), "-m", "pytest", "-q", "-k", "contract", str(tests)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tests)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
