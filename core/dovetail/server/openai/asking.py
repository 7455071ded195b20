"""From a request's fields to sampling parameters; what is known and not supported is refused by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from dovetail.errors import InvalidParameter, UnsupportedParameter
from dovetail.sampling import SamplingParams, check_int
from dovetail.server.ask import ToolChoice
from dovetail.server.limits import check_count, check_nesting
from dovetail.text.model import TextModel

from .formats import GUIDED, grammar_of
from .schema import ChatRequest, CompletionRequest, Message, SamplingFields, Tool

# field -> values besides null that ask for nothing
REFUSED: Mapping[str, tuple[Any, ...]] = {
    "use_beam_search": (False,),
    "length_penalty": (1, 1.0),
    "logits_processors": ([],),
    "prompt_embeds": (),
    "kv_transfer_params": (),
}
REFUSED_COMPLETION: Mapping[str, tuple[Any, ...]] = {"suffix": ("",)}
REFUSED_CHAT: Mapping[str, tuple[Any, ...]] = {
    "chat_template": (),
    "functions": ([],),
    "function_call": ("none",),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "verbosity": ("medium",),
    "store": (False,),
    "web_search_options": (),
    "echo": (False,),
    "best_of": (1,),
}
MAX_SALT = 256
MAX_MESSAGES = 8192
MAX_TOOLS = 1024
MAX_BIASES = 1024
MAX_BEST_OF = 20  # as OpenAI has it
MAX_METADATA = 16  # OpenAI's, as are its pairs of at most 64 and 512 characters
MAX_METADATA_BYTES = 64 << 10
MAX_METADATA_KEY, MAX_METADATA_VALUE = 64, 512
TIERS = ("auto", "default", "flex", "priority", "scale")
PASSED = (
    "temperature",
    "top_p",
    "n",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "seed",
    "top_k",
    "min_p",
    "repetition_penalty",
    "min_tokens",
    "allowed_token_ids",
    "bad_words",
    "ignore_eos",
    "include_stop_str_in_output",
    "skip_special_tokens",
    "prompt_logprobs",
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
    "samplers",
)


# all of these at once: nearly every request leaves them all out
_CHAT = attrgetter(*REFUSED, *REFUSED_CHAT)
_COMPLETION = attrgetter(*REFUSED, *REFUSED_COMPLETION)
_PASSED = attrgetter(*PASSED)
_FORMS = attrgetter(
    "response_format",
    "structured_outputs",
    "guided_whitespace_pattern",
    *map("guided_{}".format, GUIDED),
)


def refuse_unsupported(asked: SamplingFields) -> None:
    """Raise UnsupportedParameter for the first field that this server cannot honour."""
    chat = isinstance(asked, ChatRequest)
    if any(value is not None for value in (_CHAT if chat else _COMPLETION)(asked)):
        refuse(asked, {**REFUSED, **(REFUSED_CHAT if chat else REFUSED_COMPLETION)})
    _check_stream_options(asked)
    if asked.cache_salt is not None and len(asked.cache_salt) > MAX_SALT:
        raise InvalidParameter(
            f"cache_salt has {len(asked.cache_salt)} characters; at most {MAX_SALT} are allowed",
            param="cache_salt",
        )
    if asked.priority is not None:
        check_int("priority", asked.priority, -(2**31), 2**31 - 1)


def refuse(asked: Any, fields: Mapping[str, tuple[Any, ...]]) -> None:
    """Raise UnsupportedParameter for the first of the fields that asks for something; field -> values that do not."""
    for name, harmless in fields.items():
        value = getattr(asked, name)
        if value is not None and not any(value is h or value == h for h in harmless):
            raise UnsupportedParameter(f"{name} is not supported; leave it out", param=name)


def check_service_tier(given: str | None) -> None:
    """Raise for what is no tier of OpenAI's. All are served alike; answers say "default"."""
    if given is not None and given not in TIERS:
        raise InvalidParameter(
            f"service_tier is {given[:100]!r}; it must be one of {', '.join(TIERS)}",
            param="service_tier",
        )


def _check_stream_options(asked: SamplingFields) -> None:
    if asked.stream_options is None:
        return
    if not asked.stream:
        raise InvalidParameter(
            "stream_options is allowed only with stream: true", param="stream_options"
        )


def wants_usage(asked: SamplingFields) -> bool:
    """Whether a streamed reply ends with its usage."""
    return bool(asked.stream_options and asked.stream_options.include_usage)


def wants_continuous_usage(asked: SamplingFields) -> bool:
    """Whether every chunk of it tells the usage so far."""
    options = asked.stream_options
    return bool(options and options.include_usage and options.continuous_usage_stats)


def truncation_of(asked: SamplingFields, params: SamplingParams, text: TextModel) -> int | None:
    """The last tokens of a prompt that are kept, None for all; -1 asks for as many as the context takes."""
    given = asked.truncate_prompt_tokens
    if given is None:
        return None
    check_int("truncate_prompt_tokens", given, -1, text.max_model_len)
    if given == 0:
        raise InvalidParameter(
            "truncate_prompt_tokens is 0; it must be -1 or at least 1",
            param="truncate_prompt_tokens",
        )
    room = text.max_model_len - max(1, params.max_tokens or 1)
    return max(1, room if given == -1 else given)


def sampling_of_completion(asked: CompletionRequest, text: TextModel) -> SamplingParams:
    """Sampling parameters of a completion; OpenAI's default of 16 tokens."""
    echoed = asked.logprobs if asked.echo else None
    if echoed is not None and asked.prompt_logprobs is not None:
        echoed = max(echoed, asked.prompt_logprobs)
    common = _common(asked)
    if echoed is not None:
        common["prompt_logprobs"] = echoed
    logprobs = asked.logprobs
    if (best_of := _best_of(asked)) is not None:
        common["n"], logprobs = best_of, logprobs or 0
    return text.sampling(**common, max_tokens=_default_16(asked), logprobs=logprobs)


def _best_of(asked: CompletionRequest) -> int | None:
    """Completions to choose from, None where all are given out. Raises InvalidParameter."""
    best_of, n = asked.best_of, asked.n or 1
    if best_of is None or best_of == n:
        return None
    check_int("best_of", best_of, 1, MAX_BEST_OF)
    if best_of < n:
        raise InvalidParameter(f"best_of is {best_of}, less than n, {n}", param="best_of")
    if asked.stream:
        raise InvalidParameter(
            "best_of is chosen at the end and cannot be streamed; leave one out", param="best_of"
        )
    return best_of


def _default_16(asked: CompletionRequest) -> int:
    if asked.max_tokens is not None:
        return asked.max_tokens
    return max(16, asked.min_tokens or 0)


def sampling_of_chat(asked: ChatRequest, text: TextModel) -> SamplingParams:
    """Sampling parameters of a chat; as many tokens as the context leaves unless it says."""
    if asked.top_logprobs is not None and not asked.logprobs:
        raise InvalidParameter(
            "top_logprobs is allowed only with logprobs: true", param="top_logprobs"
        )
    if asked.top_logprobs is not None:
        check_int("top_logprobs", asked.top_logprobs, 0, 20)
    limit = asked.max_completion_tokens
    name = "max_completion_tokens" if limit is not None else "max_tokens"
    limit = limit if limit is not None else asked.max_tokens
    if limit is not None:
        check_int(name, limit, 1, 2**31 - 1)
    logprobs = (asked.top_logprobs or 0) if asked.logprobs else None
    return text.sampling(**_common(asked), max_tokens=limit, logprobs=logprobs)


def _common(asked: SamplingFields) -> dict[str, Any]:
    check_count("logit_bias", asked.logit_bias, MAX_BIASES)
    given = zip(PASSED, _PASSED(asked), strict=True)
    values = {name: value for name, value in given if value is not None}
    stop = asked.stop
    values["stop"] = (stop,) if isinstance(stop, str) else tuple(stop or ())
    values["stop_token_ids"] = tuple(asked.stop_token_ids or ())
    if any(value is not None for value in _FORMS(asked)):
        values["grammar"] = grammar_of(asked)
    return values


def check_free_form(asked: ChatRequest) -> None:
    """Bound number and nesting in fields that may hold anything."""
    metadata_of(asked.metadata)
    check_service_tier(asked.service_tier)
    check_nesting("documents", asked.documents)
    check_conversation(asked.messages, asked.tools)


def metadata_of(given: msgspec.Raw) -> dict[str, str]:
    """OpenAI's metadata: at most 16 pairs of texts. Raises InvalidParameter."""
    if len(bytes(given)) > MAX_METADATA_BYTES:
        raise InvalidParameter(
            f"metadata has {len(bytes(given))} bytes; at most {MAX_METADATA_BYTES} are allowed, in {MAX_METADATA} pairs",
            param="metadata",
        )
    metadata = msgspec.json.decode(given)
    if metadata is not None and not isinstance(metadata, dict):
        raise InvalidParameter("metadata must be an object", param="metadata")
    check_count("metadata", metadata, MAX_METADATA)
    for key, value in (metadata or {}).items():
        if len(key) > MAX_METADATA_KEY:
            raise InvalidParameter(
                f"metadata has a key of {len(key)} characters; at most {MAX_METADATA_KEY} are allowed",
                param="metadata",
            )
        if not isinstance(value, str) or len(value) > MAX_METADATA_VALUE:
            raise InvalidParameter(
                f"metadata.{key} must be a text of at most {MAX_METADATA_VALUE} characters",
                param="metadata",
            )
    return metadata or {}


def check_conversation(messages: Sequence[Message] | None, tools: Sequence[Tool] | None) -> None:
    """Bound what goes into the chat template."""
    check_count("messages", messages, MAX_MESSAGES)
    check_count("tools", tools, MAX_TOOLS)
    check_nesting("tools", [tool.function.parameters for tool in tools or ()])
    arguments = [call.function.arguments for m in messages or () for call in m.tool_calls or ()]
    check_nesting("messages", arguments)


def tool_choice_of(given: Any, tools: bool) -> ToolChoice:
    """OpenAI's tool_choice; tools: whether there are any."""
    if given is not None and given != "none" and not tools:
        raise InvalidParameter(
            "tool_choice is allowed only together with tools", param="tool_choice"
        )
    if given is None or given == "auto":
        return ToolChoice()
    if given == "none":
        return ToolChoice("none")
    if given == "required":
        return ToolChoice("required")
    function = given.get("function") if isinstance(given, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if isinstance(name, str):
        return ToolChoice("required", name)
    raise InvalidParameter(
        'tool_choice must be "auto", "none", "required" or {"type": "function", "function": {"name": ...}}, '
        f"not {str(given)[:100]!r}",
        param="tool_choice",
    )
