"""What llama-server's clients ask, as sampling parameters and a prompt; what is not supported is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dovetail.errors import InvalidParameter, UnsupportedParameter
from dovetail.sampling import SamplingParams, check_int
from dovetail.server.infill import infill_ids, need_infill
from dovetail.server.limits import check_count
from dovetail.server.shapes import json_schema
from dovetail.structured import Grammar
from dovetail.text.model import TextModel

from .schema import CompletionFields, CompletionRequest, InfillRequest

# llama.cpp's own defaults; the model's do not count here
DEFAULTS: Mapping[str, Any] = {
    "temperature": 0.8,
    "top_k": 40,
    "top_p": 0.95,
    "min_p": 0.05,
    "repetition_penalty": 1.0,
    "repeat_last_n": 64,
}
SAME = (
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "top_n_sigma",
    "typical_p",
    "xtc_probability",
    "xtc_threshold",
    "dynatemp_range",
    "dynatemp_exponent",
    "mirostat",
    "mirostat_tau",
    "mirostat_eta",
    "dry_multiplier",
    "dry_base",
    "dry_allowed_length",
    "dry_penalty_last_n",
    "dry_sequence_breakers",
    "repeat_last_n",
)
# field -> values besides null that ask for nothing
REFUSED: Mapping[str, tuple[Any, ...]] = {
    "n_probs": (0,),
    "n_indent": (0,),
    "t_max_predict_ms": (0, -1),
    "lora": ([],),
}
MAX_FILES = 1024
MOST = 2**31 - 1


def sampling_of(
    asked: CompletionFields, text: TextModel, *, no: tuple[int, ...] = ()
) -> SamplingParams:
    """How to draw; no: ids that end the text besides the model's own."""
    for name, harmless in REFUSED.items():
        value = getattr(asked, name)
        if value is not None and value not in harmless:
            raise UnsupportedParameter(f"{name} is not supported; leave it out", param=name)
    fields: dict[str, Any] = dict(DEFAULTS)
    for name in SAME:
        if (value := getattr(asked, name)) is not None:
            fields[name] = value
    if asked.repeat_penalty is not None:
        fields["repetition_penalty"] = asked.repeat_penalty
    if asked.seed is not None and asked.seed >= 0:
        fields["seed"] = asked.seed
    fields |= {
        "stop": tuple(asked.stop or ()),
        "stop_token_ids": no,
        "ignore_eos": asked.ignore_eos,
        "grammar": _grammar(asked),
        "samplers": tuple(asked.samplers) if asked.samplers else None,
        "logit_bias": _bias(asked.logit_bias, text),
        "max_tokens": _max_tokens(asked.n_predict),
    }
    return text.sampling(**fields)


def _max_tokens(n_predict: int | None) -> int | None:
    """None for as many as the context leaves: -1, and -2, which would shift the context elsewhere."""
    if n_predict is None:
        return None
    check_int("n_predict", n_predict, -2, MOST)
    return None if n_predict < 0 else n_predict


def _grammar(asked: CompletionFields) -> Grammar | None:
    """The form of the text: a grammar in GBNF, or a JSON schema."""
    if asked.grammar and asked.json_schema:
        raise InvalidParameter("grammar and json_schema exclude each other", param="json_schema")
    if asked.grammar:
        return Grammar("gbnf", asked.grammar, field="grammar")
    if not asked.json_schema:
        return None  # {}, too: any text
    return json_schema(asked.json_schema, "json_schema")


def _bias(given: list[list[Any]] | None, text: TextModel) -> dict[int, float]:
    """[[id or text, bias], ...]; false for never. A text counts for each of its tokens."""
    check_count("logit_bias", given, text.vocab_size)
    bias: dict[int, float] = {}
    for pair in given or ():
        if len(pair) != 2 or not isinstance(pair[0], int | str) or isinstance(pair[0], bool):
            raise InvalidParameter(
                "logit_bias must hold pairs of a token id or a text, and a number or false",
                param="logit_bias",
            )
        value = -100.0 if pair[1] is False else pair[1]
        ids = (
            [pair[0]]
            if isinstance(pair[0], int)
            else text.encode(pair[0], add_special_tokens=False, param="logit_bias")
        )
        bias |= dict.fromkeys(ids, value)
    return bias


def completion_of(asked: CompletionRequest, text: TextModel) -> tuple[list[int], SamplingParams]:
    """Prompt and parameters of a completion."""
    prompt = asked.prompt
    ids = text.encode(prompt) if isinstance(prompt, str) else prompt
    params = sampling_of(asked, text)
    return ids, params


def infill_of(asked: InfillRequest, text: TextModel) -> tuple[list[int], SamplingParams]:
    """Prompt and parameters of what is to be filled in. Raises UnsupportedParameter if the model cannot."""
    tokens = need_infill(text, "input_suffix")
    check_count("input_extra", asked.input_extra, MAX_FILES)
    ids = infill_ids(
        text,
        asked.input_prefix,
        asked.input_suffix,
        begun=asked.prompt,
        files=[(extra.filename, extra.text) for extra in asked.input_extra or ()],
        param="input_suffix",
    )
    params = sampling_of(asked, text, no=tuple(tokens.all))
    return ids, params
