"""Options that several architectures share: the activation, attention windows, biases."""

from __future__ import annotations

from collections.abc import Sequence

from dovetail.errors import CheckpointError, UnsupportedModel

from .facts import MAX_LENGTH, ModelFacts
from .fields import FILE, Fields

ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "swiglu": "silu",
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
    "relu": "relu",
}
"""Hugging Face's names -> those of the graph; several of them are one function."""

DEFAULT_WINDOW = 4096
DEFAULT_WINDOW_LAYERS = 28

Windows = tuple[int | None, ...]
"""Per layer, the tokens that a token sees, itself included; None for all before it."""


def activation(fields: Fields) -> str:
    """The graph's name of `hidden_act`."""
    return activation_of(fields, "hidden_act", "silu")


def activation_of(fields: Fields, field: str, default: str) -> str:
    """The graph's name of an activation."""
    name = fields.word(field, default)
    if name not in ACTIVATIONS:
        raise UnsupportedModel(
            f"{FILE}: {field} {name!r} is not supported; supported: {', '.join(ACTIVATIONS)}"
        )
    return ACTIVATIONS[name]


def refuse(fields: Fields, architecture: str, *names: str) -> None:
    """Refuse options that this architecture does not have; false, 0 and null say the same as absence."""
    for name in names:
        if fields.values.get(name):
            raise UnsupportedModel(
                f"{FILE}: field {name} is {fields.values[name]!r}; {architecture} has no such option "
                "here; expected no such field"
            )


def no_windows(fields: Fields, facts: ModelFacts) -> Windows:
    """For an architecture whose layers all see everything."""
    refuse(fields, facts.architecture, "sliding_window", "use_sliding_window")
    return same_windows(fields, facts, None)


def same_windows(fields: Fields, facts: ModelFacts, window: int | None) -> Windows:
    """One window for all layers; `layer_types`, if there, must say the same."""
    windows = (window,) * facts.layers
    if fields.has("layer_types") and listed_windows(fields, facts, window) != windows:
        raise UnsupportedModel(
            f"{FILE}: field layer_types differs from sliding_window, which is {window} for every "
            f"layer of {facts.architecture}"
        )
    return windows


def mistral_windows(fields: Fields, facts: ModelFacts) -> Windows:
    """`sliding_window` for all layers: null for none, 4096 if the field is absent."""
    window = None
    if fields.has("sliding_window") or "sliding_window" not in fields.values:
        window = fields.integer("sliding_window", 1, MAX_LENGTH, DEFAULT_WINDOW)
    return same_windows(fields, facts, window)


def qwen_windows(fields: Fields, facts: ModelFacts) -> Windows:
    """`sliding_window` if `use_sliding_window`, for the layers of `layer_types` or those from `max_window_layers` on."""
    window = None
    if fields.flag("use_sliding_window") and (
        fields.has("sliding_window") or "sliding_window" not in fields.values
    ):
        window = fields.integer("sliding_window", 1, MAX_LENGTH, DEFAULT_WINDOW)
    if fields.has("layer_types"):
        return listed_windows(fields, facts, window)
    first = fields.integer("max_window_layers", 0, MAX_LENGTH, DEFAULT_WINDOW_LAYERS)
    return tuple(None if layer < first else window for layer in range(facts.layers))


def listed_windows(fields: Fields, facts: ModelFacts, window: int | None) -> Windows:
    """Windows as `layer_types` lists them."""
    kinds = fields.words("layer_types")
    if len(kinds) != facts.layers:
        raise CheckpointError(
            f"{FILE}: field layer_types has {len(kinds)} entries; expected num_hidden_layers, "
            f"{facts.layers}"
        )
    known = {"full_attention": None, "attention": None, "sliding_attention": window}
    if unknown := sorted(set(kinds) - set(known)):
        raise UnsupportedModel(
            f"{FILE}: field layer_types has {', '.join(unknown)}; supported: full_attention, "
            "sliding_attention"
        )
    if window is None and "sliding_attention" in kinds:
        raise CheckpointError(
            f"{FILE}: field layer_types has sliding_attention, but no sliding_window is in use"
        )
    return tuple(known[kind] for kind in kinds)


def effective(windows: Windows, max_model_len: int | None) -> Windows:
    """Windows that can cut something off: one at least as long as the longest sequence cannot."""
    if max_model_len is None:
        return windows
    return tuple(None if window and window >= max_model_len else window for window in windows)


def distinct(windows: Sequence[int | None]) -> list[int | None]:
    """Each window once, in order of first use."""
    return list(dict.fromkeys(windows))
