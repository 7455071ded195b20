"""Requests as clients send them, decoded by msgspec: OpenAI's fields, vLLM's where OpenAI has none, and
llama.cpp's samplers.

Every optional field may be null. Fields nobody knows are ignored, as OpenAI's clients rely on; fields that are known
and not supported are declared, so that asking.py can refuse them by name. What JSON makes has no cycles, so the collector of garbage
need not look at it (gc=False): a large body would have it run many times.
"""

from __future__ import annotations

from typing import Any

import msgspec

NULL = msgspec.Raw(b"null")


def null() -> msgspec.Raw:
    """What a field holds that was not given; made by a function because it cannot be shown as a default."""
    return NULL


class StreamOptions(msgspec.Struct, gc=False):
    """Options of streamed replies."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None
    continuous_usage_stats: bool | None = None


class SamplingFields(msgspec.Struct, kw_only=True, gc=False):
    """What both kinds of requests say about drawing tokens."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    n: int | None = None
    stop: str | list[str] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[int, float] | None = None
    seed: int | None = None
    user: str | None = None

    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    min_tokens: int | None = None
    stop_token_ids: list[int] | None = None
    allowed_token_ids: list[int] | None = None
    bad_words: list[str] | None = None
    ignore_eos: bool | None = None
    include_stop_str_in_output: bool | None = None
    skip_special_tokens: bool | None = None
    add_special_tokens: bool | None = None
    priority: int | None = None
    cache_salt: str | None = None
    timeout: float | None = None
    prompt_logprobs: int | None = None

    top_n_sigma: float | None = None
    typical_p: float | None = None
    xtc_probability: float | None = None
    xtc_threshold: float | None = None
    dynatemp_range: float | None = None
    dynatemp_exponent: float | None = None
    mirostat: int | None = None
    mirostat_tau: float | None = None
    mirostat_eta: float | None = None
    dry_multiplier: float | None = None
    dry_base: float | None = None
    dry_allowed_length: int | None = None
    dry_penalty_last_n: int | None = None
    dry_sequence_breakers: list[str] | None = None
    repeat_last_n: int | None = None
    samplers: list[str] | None = None

    response_format: Any = None
    best_of: int | None = None
    use_beam_search: Any = None
    length_penalty: Any = None
    logits_processors: Any = None
    truncate_prompt_tokens: int | None = None
    guided_json: Any = None
    guided_regex: Any = None
    guided_choice: Any = None
    guided_grammar: Any = None
    guided_json_object: Any = None
    guided_whitespace_pattern: Any = None
    structured_outputs: Any = None
    prompt_embeds: Any = None
    return_token_ids: bool | None = None
    return_tokens_as_token_ids: bool | None = None
    kv_transfer_params: Any = None


class CompletionRequest(SamplingFields, kw_only=True, gc=False):
    """POST /v1/completions. `prompt`: a string, strings, token ids, or lists of token ids."""

    prompt: str | list[Any] | None = None
    echo: bool | None = None
    logprobs: int | None = None
    suffix: Any = None


class FunctionCall(msgspec.Struct, gc=False):
    """A function the model called."""

    name: str
    arguments: str | dict[str, Any] = ""


class ToolCall(msgspec.Struct, gc=False):
    """A call as it stands in an assistant's message."""

    function: FunctionCall
    id: str | None = None
    type: str | None = None


class ContentPart(msgspec.Struct, gc=False):
    """One part of a message; only text is read."""

    type: str
    text: str | None = None
    refusal: str | None = None


class Message(msgspec.Struct, gc=False):
    """One message of a chat."""

    role: str
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    audio: Any = None
    function_call: Any = None


class Function(msgspec.Struct, gc=False):
    """A function the model may call; parameters is a JSON schema."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(msgspec.Struct, gc=False):
    """A tool: always a function."""

    type: str
    function: Function


class ChatRequest(SamplingFields, kw_only=True, gc=False):
    """POST /v1/chat/completions."""

    messages: list[Message] | None = None
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    tools: list[Tool] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    documents: list[dict[str, Any]] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    include_reasoning: bool | None = None
    store: bool | None = None
    metadata: msgspec.Raw = msgspec.field(
        default_factory=null
    )  # not used: no need to make objects of it
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None

    chat_template: Any = None
    functions: Any = None
    function_call: Any = None
    modalities: Any = None
    audio: Any = None
    prediction: Any = None
    verbosity: Any = None
    web_search_options: Any = None
    echo: Any = None


class TokenizeRequest(msgspec.Struct, kw_only=True, gc=False):
    """POST /tokenize: a prompt, or messages to be rendered first."""

    model: str | None = None
    prompt: str | None = None
    messages: list[Message] | None = None
    tools: list[Tool] | None = None
    add_special_tokens: bool | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    return_token_strs: bool | None = None


class DetokenizeRequest(msgspec.Struct, kw_only=True, gc=False):
    """POST /detokenize."""

    tokens: list[int]
    model: str | None = None
