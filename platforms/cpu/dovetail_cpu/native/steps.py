"""The list of steps that a graph becomes, and which memory each of its values is in."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from . import bindings


@dataclass(frozen=True, slots=True)
class Place:
    """Columns of a slot, [rows, width] of f32. Slots are numbered as they are made, and reused only in `plan`.

    slot     -1 - i for the i-th result, which is the caller's memory
    outputs  whether there are N rows, not T
    """

    slot: int
    offset: int
    width: int
    outputs: bool


@dataclass(slots=True)
class Made:
    """A step before it is put into the library's form."""

    op: str
    inputs: tuple[Place, ...] = ()
    outputs: tuple[Place, ...] = ()
    matrices: tuple[int, ...] = ()
    packed: int = -1
    layer: int = 0
    group: int = 0
    numbers: tuple[int, ...] = ()
    scalars: tuple[float, ...] = ()
    weight: NDArray[np.float32] | None = None


@dataclass(slots=True)
class Steps:
    """What the lowering of a graph has made; arrays keep alive what the structs point to."""

    made: list[Made] = field(default_factory=list)
    matrices: list[bindings.Matrix] = field(default_factory=list)
    packed: list[bindings.PackedSpec] = field(default_factory=list)
    arrays: list[NDArray[np.generic]] = field(default_factory=list)
    num_slots: int = 0

    def slot(self, width: int, outputs: bool) -> Place:
        """A place of its own for a value."""
        self.num_slots += 1
        return Place(self.num_slots - 1, 0, width, outputs)

    def add(self, step: Made) -> None:
        self.made.append(step)

    def plan(self, num_layers: int) -> bindings.Plan:
        """The structs of the library; good as long as this object lives."""
        slots = assign_slots(self.made)
        values: dict[Place, int] = {}
        for step in self.made:
            for place in (*step.inputs, *step.outputs):
                values.setdefault(place, len(values))
        steps = (bindings.Step * len(self.made))(*(_step(step, values) for step in self.made))
        mapped = [slots.of.get(place.slot, place.slot) for place in values]
        rows = zip(mapped, values, strict=True)
        places = [bindings.Value(slot, p.outputs, p.offset, p.width) for slot, p in rows]
        self._keep = (
            steps,
            (bindings.Value * len(places))(*places),
            (bindings.Matrix * len(self.matrices))(*self.matrices),
            (bindings.PackedSpec * max(1, len(self.packed)))(*self.packed),
            (ctypes.c_int64 * max(1, len(slots.widths)))(*slots.widths),
            (ctypes.c_int32 * max(1, len(slots.outputs)))(*slots.outputs),
        )
        counts = (len(steps), len(places), len(self.matrices), len(self.packed), len(slots.widths))
        return bindings.Plan(*self._keep, *counts, num_layers)

    _keep: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class Slots:
    """of: slot before -> slot after; widths and outputs of those after."""

    of: Mapping[int, int]
    widths: Sequence[int]
    outputs: Sequence[bool]


def assign_slots(made: Sequence[Made]) -> Slots:
    """As few slots as it takes: one is used again by a value as wide once nothing reads it any more."""
    last: dict[int, int] = {}
    extent: dict[int, tuple[int, bool]] = {}
    for index, step in enumerate(made):
        for place in (*step.inputs, *step.outputs):
            last[place.slot] = index
            width = max(place.offset + place.width, extent.get(place.slot, (0, False))[0])
            extent[place.slot] = (width, place.outputs)
    of: dict[int, int] = {}
    widths: list[int] = []
    outputs: list[bool] = []
    free: list[int] = []
    for index, step in enumerate(made):
        for place in step.outputs:
            if place.slot < 0 or place.slot in of:
                continue
            wanted = extent[place.slot]
            found = next((slot for slot in free if (widths[slot], outputs[slot]) == wanted), None)
            if found is None:
                widths.append(wanted[0])
                outputs.append(wanted[1])
                found = len(widths) - 1
            else:
                free.remove(found)
            of[place.slot] = found
        touched = {place.slot for place in (*step.inputs, *step.outputs) if place.slot >= 0}
        free += [of[slot] for slot in sorted(touched) if last[slot] == index]
    return Slots(of, widths, outputs)


def _step(step: Made, values: Mapping[Place, int]) -> bindings.Step:
    made = bindings.Step(bindings.OP[step.op], step.packed, step.layer, step.group)
    numbered = (
        (made.inputs, [values[place] for place in step.inputs]),
        (made.outputs, [values[place] for place in step.outputs]),
        (made.matrix, step.matrices),
    )
    for array, numbers in numbered:
        array[:] = [*numbers, *(-1,) * (4 - len(numbers))]
    made.number[: len(step.numbers)] = step.numbers
    made.scalar[: len(step.scalars)] = step.scalars
    made.weight = step.weight.ctypes.data if step.weight is not None else None
    return made
