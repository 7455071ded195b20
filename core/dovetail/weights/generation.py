"""How a model wants its tokens drawn and ended: generation_config.json, and config.json where that says nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dovetail.errors import CheckpointError

# name -> (lowest, highest, whether the lowest itself is allowed), as requests have them
_RANGES = {
    "temperature": (0.0, 2.0, True),
    "top_p": (0.0, 1.0, False),
    "min_p": (0.0, 1.0, True),
    "repetition_penalty": (0.0, 2.0, False),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationDefaults:
    """What a request that says nothing gets; None where the model says nothing either.

    eos_ids    ids that end a sequence
    do_sample  False: the model's authors mean greedy decoding
    """

    eos_ids: tuple[int, ...] = ()
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    do_sample: bool | None = None


def generation_defaults(
    generation: Mapping[str, Any], config: Mapping[str, Any], directory: object
) -> GenerationDefaults:
    """Defaults from the two files' objects; CheckpointError names the file and the field that is wrong."""
    where = f"{directory}/generation_config.json"
    eos = _eos(generation, where) or _eos(config, f"{directory}/config.json")
    do_sample = generation.get("do_sample")
    if do_sample is not None and not isinstance(do_sample, bool):
        raise CheckpointError(
            f"{where}: do_sample is {repr(do_sample)[:60]}; it must be true or false"
        )
    numbers = {name: _number(generation, name, where) for name in _RANGES}
    return GenerationDefaults(
        eos_ids=eos, do_sample=do_sample, top_k=_top_k(generation, where), **numbers
    )


def _eos(values: Mapping[str, Any], where: str) -> tuple[int, ...]:
    """Ids of eos_token_id, which is an id, a list of ids or absent."""
    found = values.get("eos_token_id")
    if found is None:
        return ()
    ids = found if isinstance(found, list) else [found]
    if any(type(value) is not int or not 0 <= value < 2**31 for value in ids):
        raise CheckpointError(
            f"{where}: eos_token_id is {str(found)[:100]}; it must be a token id or a list of them"
        )
    return tuple(dict.fromkeys(ids))


def _number(values: Mapping[str, Any], name: str, where: str) -> float | None:
    value = values.get(name)
    if value is None:
        return None
    low, high, closed = _RANGES[name]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    # Comparisons alone: NaN fails them, and an integer too large for a float passes through them unharmed.
    if not number or not low <= value <= high or (value == low and not closed):
        bracket = "[" if closed else "("
        raise CheckpointError(
            f"{where}: {name} is {repr(value)[:60]}; it must be in {bracket}{low:g}, {high:g}]"
        )
    return float(value)


def _top_k(values: Mapping[str, Any], where: str) -> int | None:
    value = values.get("top_k")
    if value is None:
        return None
    if type(value) is not int or not -1 <= value < 2**31:
        raise CheckpointError(
            f"{where}: top_k is {repr(value)[:60]}; it must be an integer from -1 on"
        )
    return value
