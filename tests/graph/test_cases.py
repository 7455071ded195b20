"""Conformance cases: the same ones every time, and each a graph that holds."""

from __future__ import annotations

import pytest
from dovetail.graph import OPS, case_graph, case_vocabulary, cases, verify

NAMES = [name for name in OPS if "." not in name]


@pytest.mark.parametrize("op", NAMES)
def test_cases_are_deterministic_and_named_apart(op: str) -> None:
    once = list(cases(op))
    assert once == list(cases(op))
    assert len({str(case) for case in once}) == len(once) > 0
    assert {case.dtype for case in once} == {"f32", "bf16", "f16"}


@pytest.mark.parametrize("op", NAMES)
def test_cases_become_graphs_that_hold_their_op(op: str) -> None:
    for case in cases(op):
        graph = case_graph(case)
        verify(graph)
        assert graph.dtype == case.dtype
        assert op in {node.op for node in graph.nodes}
        assert all(graph.values[name].shape[0] == "N" for name in graph.outputs.values())
        assert case_vocabulary(case) >= 1


@pytest.mark.parametrize("op", NAMES)
def test_cases_cover_one_token(op: str) -> None:
    assert any(1 in step for case in cases(op) for step in case.steps)


def test_attention_cases_cover_windows_groups_and_growing_rows() -> None:
    found = list(cases("attention_write"))
    assert any(case.attributes.get("window") for case in found)
    assert any(1 < case.axes["K"] < case.axes["H"] for case in found)
    assert any(case.axes["K"] == 1 < case.axes["H"] for case in found)
    assert any(len(case.steps) > 2 and 0 in case.steps[2] for case in found)


def test_cases_cover_a_step_without_outputs() -> None:
    assert any(case.outputs == "none" for op in NAMES for case in cases(op))


def test_a_row_that_a_step_leaves_out_has_no_tokens_in_it() -> None:
    assert all(any(step) for op in NAMES for case in cases(op) for step in case.steps)


def test_further_outputs_of_an_op_leave_too() -> None:
    case = next(case for case in cases("split") if len(case.attributes["sizes"]) == 3)  # type: ignore[arg-type]
    assert list(case_graph(case).outputs) == ["hidden", "hidden1", "hidden2"]
