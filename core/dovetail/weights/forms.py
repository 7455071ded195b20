"""Which form each weight of a graph is given to a device in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dovetail.errors import ConfigError
from dovetail.graph import F32, FP8, INT8, Graph, Weight, WeightForm

from .checkpoint import Checkpoint
from .quantise import GROUPS, group_of
from .safetensors import Tensors, open_tensors

STORED = {"F32": "f32", "F16": "f16", "BF16": "bf16", "F64": "f64"}
QUANTIZATIONS = {"int8": "int8_channel", "fp8": "fp8_channel", "int4": "int4_group"}
_MATRIX_ROLES = {
    ("linear", "weight"),
    ("embed", "table"),
    ("mixture", "gate_up"),
    ("mixture", "down"),
}


@dataclass(frozen=True, slots=True)
class Forms:
    """Forms that were chosen.

    forms  of every weight, by its name
    notes  for the user, on whatever is not as stored or as asked
    sizes  numbers held by the matrices in each form, most first
    """

    forms: Mapping[str, WeightForm]
    notes: tuple[str, ...]
    sizes: Mapping[WeightForm, int]

    def describe(self) -> str:
        """The matrices' forms in a word: "bf16", or "int4g128, int8" where there are several."""
        return ", ".join(str(form) for form in self.sizes) or "f32"


def choose_forms(
    graph: Graph,
    checkpoint: Checkpoint | None,
    *,
    quantization: str | None,
    accepted: Sequence[WeightForm],
    compute_dtype: str,
) -> Forms:
    """A form for every weight of a graph.

    checkpoint     says how each weight is stored; None (no checkpoint at all) counts as stored in the compute dtype
    quantization   "int8", "fp8", "int4" or None; of the matrices of linear, mixture and embed
    accepted       what the device multiplies; int4 with any group stands for int4 with every group
    compute_dtype  preferred where a stored dtype has to be converted

    Vectors are f32 always. Raises ConfigError where the device does not accept what was asked.
    """
    _check_request(quantization, accepted)
    tensors = None if checkpoint is None else open_tensors(checkpoint.directory, checkpoint.folders)
    matrices = _matrices(graph)
    forms: dict[str, WeightForm] = {}
    notes = _Notes()
    for weight in graph.weights.values():
        if len(weight.shape) < 2:
            forms[weight.name] = F32
            continue
        form = None
        if quantization and weight.name in matrices:
            form = _quantised(weight, quantization, accepted, notes)
        if form is None:
            stored = _stored(weight, tensors, compute_dtype)
            form = _dense(weight, stored, accepted, compute_dtype, notes)
        forms[weight.name] = form
    return Forms(forms, tuple(notes.lines()), _sizes(graph, forms))


def _sizes(graph: Graph, forms: Mapping[str, WeightForm]) -> dict[WeightForm, int]:
    sizes: Counter[WeightForm] = Counter()
    for weight in graph.weights.values():
        if len(weight.shape) > 1:
            sizes[forms[weight.name]] += math.prod(weight.shape)
    return dict(sizes.most_common())


class _Notes:
    """Counts of weights per remark, with one of them as an example."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def add(self, remark: str, weight: Weight) -> None:
        self._counts[remark] += 1
        self._examples.setdefault(remark, weight.name)

    def lines(self) -> list[str]:
        return [
            f"{remark}: {self._examples[remark]}" + (f" and {count - 1} more" if count > 1 else "")
            for remark, count in self._counts.items()
        ]


def _check_request(quantization: str | None, accepted: Sequence[WeightForm]) -> None:
    have = ", ".join(str(form) for form in accepted) or "none"
    if quantization is not None and quantization not in QUANTIZATIONS:
        raise ConfigError(
            f"quantization {quantization!r} is not known; known are {', '.join(QUANTIZATIONS)}"
        )
    if quantization and not _accepts(accepted, QUANTIZATIONS[quantization]):
        raise ConfigError(
            f"quantization {quantization} is not one of the weight forms of this device ({have})"
        )
    if not _accepts(accepted, "dense"):
        raise ConfigError(f"this device accepts no dense weights (its weight forms: {have})")


def _accepts(accepted: Sequence[WeightForm], kind: str) -> bool:
    return any(form.kind == kind for form in accepted)


def _matrices(graph: Graph) -> set[str]:
    """Weights that linear, mixture and embed use and nothing else does."""
    used: dict[str, set[tuple[str, str]]] = {}
    for node in graph.nodes:
        for role, name in node.weights.items():
            used.setdefault(name, set()).add((node.op, role))
    return {name for name, uses in used.items() if uses <= _MATRIX_ROLES}


def _quantised(
    weight: Weight, quantization: str, accepted: Sequence[WeightForm], notes: _Notes
) -> WeightForm | None:
    """The quantised form, int8 where int4 does not fit, None where neither does."""
    if quantization in ("int8", "fp8"):
        return INT8 if quantization == "int8" else FP8
    width = weight.shape[-1]
    if group := group_of(width):
        return WeightForm("int4_group", group=group)
    fits = _accepts(accepted, "int8_channel")
    notes.add(
        f"int4 needs a width that {GROUPS[-1]} divides; width {width} is "
        + ("int8 instead" if fits else "not quantised, as the device has no int8"),
        weight,
    )
    return INT8 if fits else None


def _stored(weight: Weight, tensors: Tensors | None, compute_dtype: str) -> str:
    """The dtype a weight's parts are stored in; the widest where they differ."""
    if tensors is None:
        return compute_dtype
    found = {STORED.get(tensors[part].dtype, "") for part in weight.parts if part in tensors}
    if len(found) == 1:
        return found.pop()
    return "f32" if found else compute_dtype


def _dense(
    weight: Weight, stored: str, accepted: Sequence[WeightForm], compute_dtype: str, notes: _Notes
) -> WeightForm:
    """As stored where the device takes that, else the compute dtype, else f32, else the device's first."""
    dense = {form.dtype: form for form in accepted if form.kind == "dense"}
    if stored in dense:
        return dense[stored]
    best = next((dtype for dtype in (compute_dtype, "f32") if dtype in dense), next(iter(dense)))
    if stored:  # what cannot be read at all is refused when the source is opened
        notes.add(f"stored as {stored}, converted to {best}", weight)
    return dense[best]
