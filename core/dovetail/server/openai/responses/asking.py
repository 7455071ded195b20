"""From a request for a response to an ask; what is known and not supported is refused by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dovetail.errors import InvalidParameter, UnsupportedParameter
from dovetail.sampling import SamplingParams, check_int
from dovetail.server.ask import Ask, ToolChoice, template_variables
from dovetail.server.limits import check_count, check_nesting
from dovetail.server.openai.asking import (
    MAX_MESSAGES,
    MAX_SALT,
    MAX_TOOLS,
    check_service_tier,
    metadata_of,
    refuse,
    tool_choice_of,
)
from dovetail.server.openai.formats import of_format
from dovetail.structured import Grammar
from dovetail.text.model import TextModel

from .schema import FunctionTool, ResponseRequest

LOGPROBS = "message.output_text.logprobs"
# what hosted tools and images would add: there are none, so there is nothing to include
ABSENT = (
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
)
# field -> values besides null that ask for nothing
REFUSED: Mapping[str, tuple[Any, ...]] = {
    "conversation": (),
    "prompt": (),
    "max_tool_calls": (),
    "context_management": ([],),
    "moderation": (),
    "prompt_cache_retention": ("in_memory",),
}
SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "ignore_eos",
)


def check(asked: ResponseRequest) -> None:
    """Raise for the first field that this server cannot honour, or that is out of bounds."""
    refuse(asked, REFUSED)
    check_service_tier(asked.service_tier)
    metadata_of(asked.metadata)
    if asked.stream_options is not None and not asked.stream:
        raise InvalidParameter(
            "stream_options is allowed only with stream: true", param="stream_options"
        )
    if asked.background and asked.stream:
        raise UnsupportedParameter(
            "background and stream exclude each other here; leave one of them out", param="stream"
        )
    if asked.background and asked.store is False:
        raise InvalidParameter("background needs store: true", param="background")
    if asked.truncation not in (None, "auto", "disabled"):
        raise InvalidParameter(
            f'truncation must be "auto" or "disabled", not {asked.truncation[:100]!r}',
            param="truncation",
        )
    _check_include(asked)
    _check_text(asked)
    _check_reasoning(asked)
    _check_bounds(asked)


def _check_include(asked: ResponseRequest) -> None:
    for name in asked.include or ():
        if name not in (LOGPROBS, *ABSENT):
            raise UnsupportedParameter(f"include {name[:100]!r} is not supported", param="include")
    if asked.top_logprobs and LOGPROBS not in (asked.include or ()):
        raise InvalidParameter(
            f"top_logprobs is given out only with {LOGPROBS!r} in include", param="top_logprobs"
        )


def _check_text(asked: ResponseRequest) -> None:
    if asked.text is None:
        return
    if asked.text.verbosity not in (None, "medium"):
        raise UnsupportedParameter(
            "text.verbosity is not supported; leave it out", param="text.verbosity"
        )


def _check_reasoning(asked: ResponseRequest) -> None:
    options = asked.reasoning
    if options is None:
        return
    for name in ("summary", "generate_summary"):
        if getattr(options, name) not in (None, "auto"):
            raise UnsupportedParameter(
                f"reasoning.{name} is not supported: reasoning is given out as it is",
                param=f"reasoning.{name}",
            )


def _check_bounds(asked: ResponseRequest) -> None:
    if not isinstance(asked.input, str):
        check_count("input", asked.input, MAX_MESSAGES)
    check_count("tools", asked.tools, MAX_TOOLS)
    check_count("include", asked.include, 64)
    check_nesting("tools", [tool.parameters for tool in asked.tools or ()])
    if asked.cache_salt is not None and len(asked.cache_salt) > MAX_SALT:
        raise InvalidParameter(
            f"cache_salt has {len(asked.cache_salt)} characters; at most {MAX_SALT} are allowed",
            param="cache_salt",
        )
    if asked.priority is not None:
        check_int("priority", asked.priority, -(2**31), 2**31 - 1)
    if asked.max_output_tokens is not None:
        check_int("max_output_tokens", asked.max_output_tokens, 1, 2**31 - 1)


def ask_of(
    asked: ResponseRequest, messages: Sequence[Mapping[str, Any]], text: TextModel, size: int
) -> Ask:
    """What is asked, in no dialect. Raises RequestError."""
    tools = [_plain(tool, i) for i, tool in enumerate(asked.tools or ())]
    return Ask(
        messages=messages,
        sampling=_sampling(asked, text),
        tools=tools,
        tool_choice=_tool_choice(asked.tool_choice, bool(tools)),
        strict=frozenset(tool.name for tool in asked.tools or () if tool.strict and tool.name),
        parallel=asked.parallel_tool_calls is not False,
        variables=template_variables(asked.chat_template_kwargs),
        effort=asked.reasoning.effort if asked.reasoning is not None else None,
        priority=asked.priority or 0,
        salt=asked.cache_salt or "",
        size=size,
    )


def _sampling(asked: ResponseRequest, text: TextModel) -> SamplingParams:
    given = {name: getattr(asked, name) for name in SAMPLING}
    stop = asked.stop
    given["stop"] = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if LOGPROBS in (asked.include or ()):
        given["logprobs"] = asked.top_logprobs or 0
    return text.sampling(**given, grammar=_grammar(asked), max_tokens=asked.max_output_tokens)


def _grammar(asked: ResponseRequest) -> Grammar | None:
    """What text.format asks for; in chat, what describes a schema is one level deeper."""
    form = asked.text.format if asked.text is not None else None
    if form is not None and form.get("type") == "json_schema":
        schema = {name: value for name, value in form.items() if name != "type"}
        form = {"type": "json_schema", "json_schema": schema}
    return of_format(form)


def _tool_choice(given: Any, tools: bool) -> ToolChoice:
    """Chat's tool_choice, but that the name stands beside the type."""
    if isinstance(given, dict):
        if given.get("type") != "function":
            raise UnsupportedParameter(
                f"tool_choice of type {str(given.get('type'))[:100]!r} is not supported; only function is",
                param="tool_choice",
            )
        given = {"type": "function", "function": {"name": given.get("name")}}
    return tool_choice_of(given, tools)


def _plain(tool: FunctionTool, index: int) -> dict[str, Any]:
    """A tool as the chat template takes it; one that would run on the server is refused by name."""
    if tool.type != "function":
        raise UnsupportedParameter(
            f"tools[{index}].type is {tool.type[:100]!r}, which would run on the server; only function is supported",
            param=f"tools[{index}].type",
        )
    if not tool.name:
        raise InvalidParameter(f"tools[{index}].name is missing", param=f"tools[{index}].name")
    fields = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    function = {name: value for name, value in fields.items() if value is not None}
    return {"type": "function", "function": function}
