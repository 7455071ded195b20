"""The two third-party examples pass every layer of conformance that needs no installation, from their folders."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from dovetail.plugins import discover, select
from dovetail_sdk import conformance
from projects import EXAMPLES, entry_point, platform_of, project

LAYERS = ("contract", "ops", "cache", "steps", "programs", "models")
NAMES = {"toy": "ToyPlatform", "mlx": "MlxPlatform"}


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    if request.param == "mlx" and find_spec("mlx") is None:
        pytest.skip("MLX is not installed: pip install mlx, or mlx[cpu] on Linux")
    with project(EXAMPLES / request.param, f"dovetail_{request.param}"):
        yield request.param


@pytest.mark.parametrize("layer", LAYERS)
def test_example_passes_conformance(name, layer):
    card = conformance.run(platform_of(f"dovetail_{name}", name), layers=[layer])
    failed = [
        f"{outcome.check}: {outcome.reason}"
        for outcome in card.outcomes
        if outcome.status == "failed"
    ]
    assert failed == []
    assert any(outcome.status == "passed" for outcome in card.outcomes)


def test_example_is_found_and_selected_by_name(name):
    found = discover([entry_point(f"dovetail_{name}", name, NAMES[name])])
    assert [entry.problem for entry in found] == [None]
    assert str(select(name, found)) == f"{name}:0"


def test_toy_and_mlx_stay_small():
    for name, limit in (("toy", 200), ("mlx", 600)):
        files = (EXAMPLES / name / f"dovetail_{name}").rglob("*.py")
        assert sum(len(file.read_text().splitlines()) for file in files) < limit, name
