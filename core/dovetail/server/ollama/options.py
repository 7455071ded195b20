"""Ollama's options as sampling parameters.

What a request leaves out is what the model's own files say, as with the parameters of a Modelfile, and else Ollama's
default; but tokens are not penalised (repeat_penalty) unless a request says so. Options about loading (num_thread, num_gpu, num_batch, num_keep, use_mmap and their like) and keep_alive are taken and have no effect:
the model is loaded once, when the server starts, and stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dovetail.errors import InvalidParameter, UnsupportedParameter
from dovetail.sampling import check_int
from dovetail.server.shapes import json_schema
from dovetail.structured import Grammar

from .schema import Ask, Options

# Ollama's defaults that change what is drawn (its documentation of Modelfiles)
DEFAULTS: Mapping[str, Any] = {"temperature": 0.8, "top_k": 40, "top_p": 0.9}
SAME = (
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "typical_p",
    "presence_penalty",
    "frequency_penalty",
    "mirostat",
    "mirostat_tau",
    "mirostat_eta",
)
REPEAT_LAST_N = 64  # what penalties count, in Ollama and llama.cpp
HARMLESS: Mapping[str, tuple[Any, ...]] = {"tfs_z": (1.0,), "penalize_newline": (True,)}
UNLIMITED = (-2, -1, 0)
MOST = 2**31 - 1


def sampling_fields(
    asked: Ask, model_defaults: Mapping[str, Any], *, max_model_len: int
) -> dict[str, Any]:
    """Arguments of TextModel.sampling. Raises RequestError that names the option."""
    options = asked.options or Options()
    _refuse(options)
    _check_context(options, max_model_len)
    fields: dict[str, Any] = {**DEFAULTS, **model_defaults}
    for name in SAME:
        if (value := getattr(options, name)) is not None:
            fields[name] = value
    if options.repeat_penalty is not None:
        fields["repetition_penalty"] = options.repeat_penalty
    last = options.repeat_last_n
    fields["repeat_last_n"] = REPEAT_LAST_N if last is None else last
    if options.seed is not None and options.seed >= 0:
        fields["seed"] = options.seed
    stop = options.stop or ()
    fields["stop"] = (stop,) if isinstance(stop, str) else tuple(stop)
    fields["max_tokens"] = _max_tokens(options)
    fields["grammar"] = _grammar(asked.format)
    if asked.logprobs:
        fields["logprobs"] = _top(asked)
    return fields


def _max_tokens(options: Options) -> int | None:
    """None for as many as the context leaves: -1 and -2 mean that here alike."""
    if options.num_predict is None:
        return None
    check_int("options.num_predict", options.num_predict, min(UNLIMITED), MOST)
    return None if options.num_predict in UNLIMITED else options.num_predict


def _grammar(form: Any) -> Grammar | None:
    """The form of the reply: any JSON, or what fits a schema."""
    if form is None or form == "":
        return None
    if form == "json":
        return Grammar("json_object", field="format")
    if isinstance(form, str):
        raise InvalidParameter(
            f'format is {form[:100]!r}; it must be "json" or a JSON schema', param="format"
        )
    return json_schema(form, "format")


def _top(asked: Ask) -> int:
    if asked.top_logprobs is None:
        return 0
    check_int("top_logprobs", asked.top_logprobs, 0, 20)
    return asked.top_logprobs


def _refuse(options: Options) -> None:
    for name, harmless in HARMLESS.items():
        value = getattr(options, name)
        if value is not None and value not in harmless:
            raise UnsupportedParameter(
                f"options.{name} is not supported; leave it out", param=f"options.{name}"
            )


def _check_context(options: Options, max_model_len: int) -> None:
    if options.num_ctx is None or options.num_ctx == 0:
        return
    check_int("options.num_ctx", options.num_ctx, 0, MOST)
    if options.num_ctx > max_model_len:
        raise InvalidParameter(
            f"options.num_ctx is {options.num_ctx}; the context is {max_model_len} tokens, fixed when the server starts "
            "(--max-model-len); ask for no more, or leave it out",
            param="options.num_ctx",
        )
