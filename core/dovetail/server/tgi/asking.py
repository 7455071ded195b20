"""What TGI's clients ask, as sampling parameters and a prompt; what is not supported is refused by name."""

from __future__ import annotations

from typing import Any

from dovetail.errors import InvalidParameter, UnsupportedParameter
from dovetail.sampling import SamplingParams, check_int, check_range
from dovetail.server.shapes import schema_text
from dovetail.structured import Grammar
from dovetail.text.model import TextModel

from .schema import Form, GenerateRequest, Parameters

DEFAULT_NEW_TOKENS = 100  # TGI's
MAX_BEST_OF = 16
MOST = 2**31 - 1


def check(given: Parameters, *, stream: bool) -> None:
    """Raise for what is not supported, and for what cannot go together."""
    for name in ("watermark", "adapter_id"):
        if getattr(given, name):
            raise UnsupportedParameter(f"{name} is not supported; leave it out", param=name)
    if given.best_of is not None:
        check_int("best_of", given.best_of, 1, MAX_BEST_OF)
    if given.best_of not in (None, 1):
        if stream:
            raise InvalidParameter("best_of is not allowed in a stream", param="best_of")
        if not samples(given):
            raise InvalidParameter(
                "best_of needs sampling; send do_sample: true, or a temperature", param="best_of"
            )
    if given.decoder_input_details and (stream or not given.details):
        raise InvalidParameter(
            "decoder_input_details needs details: true, and is not allowed in a stream",
            param="decoder_input_details",
        )
    if given.max_new_tokens is not None:
        check_int("max_new_tokens", given.max_new_tokens, 1, MOST)
    if given.temperature is not None:
        check_range("temperature", given.temperature, 0, 2, low_open=True)
    if given.truncate is not None:
        check_int("truncate", given.truncate, 1, MOST)
    if given.top_n_tokens is not None:
        check_int("top_n_tokens", given.top_n_tokens, 0, 5)


def samples(given: Parameters) -> bool:
    """Whether tokens are drawn: without any parameter of sampling, TGI takes the likeliest."""
    asked = (given.temperature, given.top_k, given.top_p, given.typical_p)
    return bool(given.do_sample) or any(value is not None for value in asked)


def sampling_of(given: Parameters, text: TextModel, *, scored: bool) -> SamplingParams:
    """How to draw; the model's own defaults do not count here. scored: report log-probabilities."""
    sampled = samples(given)
    fields: dict[str, Any] = {
        "temperature": (given.temperature or 1.0) if sampled else 0.0,
        "top_k": given.top_k or 0,
        "top_p": 1.0 if given.top_p is None else given.top_p,
        "min_p": 0.0,
        "typical_p": given.typical_p,
        "repetition_penalty": given.repetition_penalty or 1.0,
        "frequency_penalty": given.frequency_penalty,
        "seed": given.seed,
        "stop": tuple(given.stop or ()),
        "max_tokens": given.max_new_tokens or DEFAULT_NEW_TOKENS,
        "n": given.best_of or 1,
        "include_stop_str_in_output": True,  # as TGI does
        "logprobs": (given.top_n_tokens or 0) if scored else None,
        "grammar": _grammar(given.grammar),
        "prompt_logprobs": 0 if given.decoder_input_details else None,
    }
    return text.sampling(**fields)


def _grammar(form: Form | None) -> Grammar | None:
    """The form of the reply: json (a schema), json_schema (a schema with a name) or regex."""
    if form is None:
        return None
    value, where = form.value, "grammar.value"
    if form.type == "json_schema" and isinstance(value, dict):
        value = value.get("schema")
    if form.type in ("json", "json_schema"):
        return schema_text(value, where)
    if form.type != "regex":
        raise InvalidParameter(
            f"grammar.type is {form.type[:100]!r}; it must be json, json_schema or regex",
            param="grammar.type",
        )
    if not isinstance(value, str) or not value:
        raise InvalidParameter("grammar.value must be a regex, as text", param=where)
    return Grammar("regex", value, field=where)


def prompt_of(asked: GenerateRequest, given: Parameters, text: TextModel) -> list[int]:
    """Token ids of the inputs: the last ones, if they are to be truncated."""
    if not asked.inputs:
        raise InvalidParameter("inputs is empty; it needs at least one character", param="inputs")
    if given.truncate is None:
        return text.encode(asked.inputs, param="inputs")
    return text.encode(asked.inputs, param="inputs")[-given.truncate :]
