"""Rotary position embedding: frequencies and the factor on cos and sin, from config.json.

Computed in double precision. Types: default (Su et al. 2021, RoFormer), linear (Chen et al. 2023, positional
interpolation), dynamic (NTK-aware scaling), yarn (Peng et al. 2023, sections 3.2-3.4) and llama3 (the Llama 3.1
release). Field names and defaults are those of Hugging Face's configuration: `rope_parameters`, or `rope_scaling` with
`rope_theta` beside it, `rope_type` or `type` within.

`dynamic` in the original grows its base with the longest sequence so far, so that cached keys were rotated by another
base than the queries that meet them. Here the base is fixed, for the longest context the engine will serve: within the
original length that is the model's own rotation, beyond it what a cold start on a full-length sequence would use.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from dovetail.errors import UnsupportedModel

from .fields import FILE, Fields

MAX_LENGTH = 2**31 - 1
LAYER_TYPES = ("full_attention", "sliding_attention", "chunked_attention")


@dataclass(frozen=True, slots=True)
class Rope:
    """frequencies: radians per token of each pair; factor: multiplies cos and sin."""

    frequencies: tuple[float, ...]
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class RopeInput:
    """What a rope type computes from.

    width     of the rotated part of a head
    theta     base
    context   max_position_embeddings
    original  length before extension, for the types that have one
    length    longest context that will be served
    fields    of the type
    """

    width: int
    theta: float
    context: int
    original: int
    length: int
    fields: Fields

    def plain(self) -> list[float]:
        """Frequencies without any scaling: theta ** (-2i / width)."""
        return powers(self.theta, self.width)


def powers(theta: float, width: int) -> list[float]:
    return [theta ** (-index / width) for index in range(0, width, 2)]


def read_rope(config: Fields, head_width: int, max_model_len: int | None) -> Rope:
    """Frequencies for heads of that width.

    max_model_len  longest context that will be served, None for the model's own

    Raises CheckpointError for a malformed field, UnsupportedModel for an unknown type.
    """
    fields = config.inner(
        "rope_scaling" if config.values.get("rope_scaling") else "rope_parameters"
    )
    kind = fields.word("rope_type", fields.word("type", "default"))
    refuse_variants(config, fields)
    if kind not in TYPES:
        raise UnsupportedModel(
            f"{FILE}: rope type {kind!r} is not supported; supported: {', '.join(TYPES)}"
        )
    if head_width % 2:
        raise UnsupportedModel(f"{FILE}: heads are {head_width} wide; rope needs an even width")
    context = config.integer("max_position_embeddings", 1, MAX_LENGTH)
    outer = config if config.has("original_max_position_embeddings") else fields
    theta = config.number("rope_theta", 1.0, 1e18, 10000.0)
    given = RopeInput(
        width=head_width,
        theta=fields.number("rope_theta", 1.0, 1e18, theta),
        context=context,
        original=outer.integer("original_max_position_embeddings", 1, MAX_LENGTH, context),
        length=max(max_model_len or 0, context),
        fields=fields,
    )
    return TYPES[kind](given)


def refuse_variants(config: Fields, fields: Fields) -> None:
    """Refuse what changes the rotation and is not built."""
    for place in (config, fields):
        if place.number("partial_rotary_factor", 0.0, 1.0, 1.0) != 1.0:
            raise UnsupportedModel(
                f"{FILE}: field {place.prefix}partial_rotary_factor is not supported for this "
                "architecture; expected 1.0 or no such field"
            )
    nested = [name for name in LAYER_TYPES if name in fields.values]
    if nested or fields.has("mrope_section"):
        name = nested[0] if nested else "mrope_section"
        raise UnsupportedModel(
            f"{FILE}: field {fields.prefix}{name} is not supported; expected one set of rope "
            "parameters for all layers"
        )


def plain(given: RopeInput) -> Rope:
    return Rope(tuple(given.plain()))


def linear(given: RopeInput) -> Rope:
    factor = scaling_factor(given.fields)
    return Rope(tuple(frequency / factor for frequency in given.plain()))


def dynamic(given: RopeInput) -> Rope:
    factor = scaling_factor(given.fields)
    if given.width < 4:
        raise UnsupportedModel(f"{FILE}: rope type dynamic needs heads at least 4 wide")
    stretch = factor * given.length / given.context - (factor - 1)
    theta = given.theta * stretch ** (given.width / (given.width - 2))
    return Rope(tuple(powers(theta, given.width)))


def llama3(given: RopeInput) -> Rope:
    fields, factor = given.fields, scaling_factor(given.fields)
    low = fields.number("low_freq_factor", 1e-6, 1e6)
    high = fields.number("high_freq_factor", 1e-6, 1e6)
    if high <= low:
        raise fields.wrong("high_freq_factor", f"more than low_freq_factor, which is {low:g}")

    def scaled(frequency: float) -> float:
        turns = given.original * frequency / (2 * math.pi)
        if turns < low:
            return frequency / factor
        if turns > high:
            return frequency
        smooth = (turns - low) / (high - low)
        return (1 - smooth) * frequency / factor + smooth * frequency

    return Rope(tuple(scaled(frequency) for frequency in given.plain()))


def yarn(given: RopeInput) -> Rope:
    fields = given.fields
    if "factor" in fields.values and not fields.has("factor"):
        factor = given.context / given.original  # null: the ratio of the two lengths
    else:
        factor = scaling_factor(fields)
    low, high = yarn_bounds(given)
    span = high - low or 0.001

    def scaled(pair: int, frequency: float) -> float:
        ramp = min(max((pair - low) / span, 0.0), 1.0)
        return frequency / factor * ramp + frequency * (1 - ramp)

    frequencies = [scaled(pair, frequency) for pair, frequency in enumerate(given.plain())]
    return Rope(tuple(frequencies), yarn_attention_factor(fields, factor))


def yarn_bounds(given: RopeInput) -> tuple[float, float]:
    """Pairs between which frequencies go from kept to interpolated."""
    fast = given.fields.number("beta_fast", 1e-3, 1e6, 32.0)
    slow = given.fields.number("beta_slow", 1e-3, 1e6, 1.0)
    if given.theta == 1.0:
        raise given.fields.wrong("rope_theta", "a number above 1 for rope type yarn")

    def pair_of(turns: float) -> float:
        wavelength = given.original / (turns * 2 * math.pi)
        return given.width * math.log(wavelength) / (2 * math.log(given.theta))

    low, high = pair_of(fast), pair_of(slow)
    if given.fields.flag("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    return max(low, 0), min(high, given.width - 1)


def yarn_attention_factor(fields: Fields, factor: float) -> float:
    """What multiplies cos and sin: as given, or 0.1 ln(factor) + 1, or the ratio of two such with mscale."""
    if fields.has("attention_factor"):
        return fields.number("attention_factor", 0.0, 1e6)

    def growth(weight: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0

    numerator = fields.number("mscale", 0.0, 1e6, 0.0)
    denominator = fields.number("mscale_all_dim", 0.0, 1e6, 0.0)
    if numerator and denominator:
        return growth(numerator) / growth(denominator)
    return growth(1.0)


def scaling_factor(fields: Fields) -> float:
    return fields.number("factor", 1.0, 1e6)


TYPES: dict[str, Callable[[RopeInput], Rope]] = {
    "default": plain,
    "linear": linear,
    "dynamic": dynamic,
    "yarn": yarn,
    "llama3": llama3,
}
