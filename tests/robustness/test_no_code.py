"""Data stays data: no source unpickles or executes anything, and what lies beside a model's weights is not run."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dovetail.config import EngineConfig
from dovetail.engine import messages
from dovetail.engine.load import load_engine
from dovetail.request import Request
from dovetail.sampling import SamplingParams
from dovetail.weights.checkpoint import open_checkpoint
from dovetail_sdk.testing import write_checkpoint

UNPICKLING = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
EXECUTING = {"eval", "exec", "compile", "execfile"}
ROOT = Path(__file__).resolve().parents[2]
PACKAGES = [ROOT / "core/dovetail", ROOT / "plugin_sdk/dovetail_sdk"]
PACKAGES += sorted(ROOT.glob("platforms/*/dovetail_*"))


def sources() -> Iterator[tuple[str, ast.Module]]:
    """Modules of this tree and what they say: as they were imported, where they were."""
    for package in PACKAGES:
        for path in sorted(package.rglob("*.py")):
            name = ".".join(path.relative_to(package.parent).with_suffix("").parts)
            loader = getattr(sys.modules.get(name), "__loader__", None)
            text = loader.get_source(name) if hasattr(loader, "get_source") else path.read_text()
            yield name, ast.parse(text)


def imported(tree: ast.Module) -> set[str]:
    """Names of modules that a module imports, wherever in it, and the parents of these."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names | {name.partition(".")[0] for name in names}


def called(tree: ast.Module) -> set[str]:
    """Names of functions that it calls by a plain name."""
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {call.id for call in calls if isinstance(call, ast.Name)}


@pytest.mark.defends(
    "code between processes",
    "nothing is unpickled, and no text is run as code",
    without=("dovetail.engine.messages", "import msgspec\n", "import pickle\n\nimport msgspec\n"),
)
def test_no_source_unpickles_or_executes() -> None:
    used = {n: (imported(tree) & UNPICKLING) | (called(tree) & EXECUTING) for n, tree in sources()}
    assert not {name: words for name, words in used.items() if words}
    assert len(used) > 300 and messages.__name__ in used


@pytest.mark.defends(
    "code in checkpoints",
    "nothing of a checkpoint is imported or run",
    without=(
        "dovetail.weights.checkpoint",
        '    config = read_object(_required(directory, "config.json"))\n    _check_weights',
        '    config = read_object(_required(directory, "config.json"))\n'
        '    if "auto_map" in config:\n'
        '        __import__("runpy").run_path(str(directory / "modeling_x.py"))\n'
        "    _check_weights",
    ),
)
def test_code_beside_the_weights_is_not_run(tmp_path: Path) -> None:
    directory, ran = write_checkpoint(tmp_path / "model"), tmp_path / "ran"
    named = dict.fromkeys(("AutoConfig", "AutoModelForCausalLM"), "modeling_x.X")
    for file, auto_map in (
        ("config.json", named),
        ("tokenizer_config.json", {"AutoTokenizer": ["modeling_x.X", None]}),
    ):
        path = directory / file
        found = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(found | {"auto_map": auto_map, "trust_remote_code": True}))
    for file in ("modeling_x.py", "configuration_x.py", "setup.py", "__init__.py"):
        (directory / file).write_text(f"open({str(ran)!r}, 'w')\nX = None\n")
    engine = load_engine(EngineConfig(platform="null"), open_checkpoint(str(directory)))
    sampling = SamplingParams(max_tokens=2)
    engine.submit(Request(id="a", prompt=[1, 2], sampling=sampling, max_tokens=2))
    while engine.has_work:
        engine.step()
    engine.close()
    assert not ran.exists()
