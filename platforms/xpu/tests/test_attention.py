"""Contexts that are cut into stretches, on PoCL. The suite's are too short for it, so here stretches are short."""

from dataclasses import replace

import pytest
from dovetail_sdk.conformance import run
from dovetail_sdk.opencl import Machine, OpenclBackend, OpenclDevice, Programs, cache_folder
from dovetail_xpu import XpuPlatform
from dovetail_xpu.kernels import attention, kernels
from dovetail_xpu.platform import capabilities
from dovetail_xpu.select import choose, taken_for_gpu


class Cut(XpuPlatform):
    """A platform that cuts contexts from eight tokens on, as for a device of many units."""

    def __init__(self, found):
        self._found = found

    def open(self, devices):
        machine = Machine(self._found)
        backend = OpenclBackend(machine, Programs(machine, cache_folder()))
        variant = replace(choose(self._found, machine.units), units=64, stretch=8)
        return OpenclDevice(backend, kernels(backend, variant), capabilities(self._found))


@pytest.mark.parametrize("lanes", [False, True], ids=["cpu", "lanes"])
def test_contexts_that_are_cut_give_what_whole_ones_give(lanes, pocl, monkeypatch):
    plans = []

    def cut(*arguments, **named):
        plans.append(attention_cut(*arguments, **named))
        return plans[-1]

    attention_cut = attention.cut
    monkeypatch.setattr(attention, "cut", cut)
    platform = Cut(taken_for_gpu(pocl) if lanes else pocl)
    names = "^ops/(sink_)?attention/(whole|grouped|long|window_long|soft_cap)/f32-cache-(f32|f16)$"
    card = run(platform, ids=["pocl"], layers=["ops"], cases=names)
    assert [outcome for outcome in card.outcomes if outcome.status != "passed"] == []
    assert len(card.outcomes) == 18
    assert max(parts for _, _, parts in plans) > 16
