"""What docs/support says of the platforms in this repository is what they say here."""

import csv
import importlib
import importlib.util
from pathlib import Path

import pytest
from dovetail_sdk.conformance import Context, support
from dovetail_sdk.conformance.check import Cell
from dovetail_sdk.reference import ReferencePlatform

ROOT = Path(__file__).parents[3]
RECORD = "record it: dovetail conformance {0} --layer ops --csv > docs/support/{0}.csv"


def platforms():
    yield ReferencePlatform()
    if importlib.util.find_spec("dovetail_cpu") is not None:
        from dovetail_cpu.platform import CpuPlatform

        yield CpuPlatform()
    if importlib.util.find_spec("dovetail_xpu") is not None:
        from dovetail_xpu.platform import XpuPlatform

        if any(info.unavailable is None for info in XpuPlatform().probe()):
            yield XpuPlatform()


EMULATED = {
    "cuda": "dovetail_cuda.platform:CudaPlatform",
    "rocm": "dovetail_rocm.platform:RocmPlatform",
}


@pytest.mark.parametrize("name", EMULATED)
def test_support_of_platforms_without_their_chip_is_recorded(name):
    module, _, made = EMULATED[name].partition(":")
    pytest.importorskip(module)
    context = Context(getattr(importlib.import_module(module), made)(), ids=["host"])
    try:
        rows = {row.cell: (row.result, row.passed) for row in support(context)}
    finally:
        context.close()
    known = recorded(name)
    assert rows == {cell: known[cell] for cell in rows}, RECORD.format(f"{name}:host")


def recorded(name):
    with (ROOT / "docs" / "support" / f"{name}.csv").open() as lines:
        rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    return {
        Cell(row["op"], row["dtype"], row["weight_form"], row["cache_form"]): (
            row["result"],
            int(row["passed"]),
        )
        for row in rows
    }


@pytest.mark.parametrize("platform", list(platforms()), ids=lambda platform: platform.name)
def test_support_is_recorded(platform):
    """Dtypes that this machine lacks, or that the one lacked on which it was recorded, are left out."""
    context = Context(platform)
    try:
        here = context.capabilities.compute_dtypes
        rows = {row.cell: (row.result, row.passed) for row in support(context)}
    finally:
        context.close()
    known = recorded(platform.name)
    assert rows.keys() == known.keys(), RECORD.format(platform.name)
    there = {cell.dtype for cell, (result, _) in known.items() if result == "ok"}
    dtypes = there & set(here)
    assert "f32" in dtypes
    changed = {
        cell: (known[cell], found)
        for cell, found in rows.items()
        if cell.dtype in dtypes and found != known[cell]
    }
    assert not changed, RECORD.format(platform.name)


def test_nothing_recorded_fails():
    for path in (ROOT / "docs" / "support").glob("*.csv"):
        assert all(result != "failed" for result, _ in recorded(path.stem).values()), path.name


def test_the_page_is_what_the_records_say():
    spec = importlib.util.spec_from_file_location("matrix_page", ROOT / "ci" / "support_matrix.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = ROOT / "docs" / "support-matrix.md"
    assert page.read_text() == module.page(), "run python ci/support_matrix.py"
