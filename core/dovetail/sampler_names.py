"""Names of samplers and their order."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import InvalidParameter, UnsupportedParameter

EDITS = ("penalties", "dry")
"""Samplers that change logits before the others look at them; they come first."""
TRUNCATIONS = ("top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature")
ORDER = (*EDITS, *TRUNCATIONS)
"""llama-server's default order."""
SAME = {"typical_p": "typ_p", "typical": "typ_p", "temp": "temperature"}


def checked_order(names: Sequence[object]) -> tuple[str, ...]:
    """The names as they are called here, each once. Raises InvalidParameter or UnsupportedParameter."""
    found: list[str] = []
    for given in names:
        name = SAME.get(given, given) if isinstance(given, str) else None
        if name not in ORDER:
            raise InvalidParameter(
                f"samplers holds {str(given)[:40]!r}; known are {', '.join(ORDER)}",
                param="samplers",
            )
        if name in found:
            raise InvalidParameter(f"samplers names {name} twice", param="samplers")
        found.append(name)
    edits = [name for name in found if name in EDITS]
    if edits != [name for name in EDITS if name in found] or found[: len(edits)] != edits:
        raise UnsupportedParameter(
            "samplers must begin with penalties and dry, in this order, where it names them",
            param="samplers",
        )
    return tuple(found)
