"""What is refused before a request is queued: what can never fit."""

from __future__ import annotations

from dovetail.errors import InvalidParameter, PromptTooLong
from dovetail.request import Request

from .client import EngineInfo


def check_request(request: Request, info: EngineInfo) -> None:
    """Raise PromptTooLong or InvalidParameter if the engine can never run this request."""
    check_task(request.task, info)
    _check_pooled(request)
    length = len(request.prompt)
    if length == 0:
        raise InvalidParameter("the prompt is empty; it needs at least one token", param="prompt")
    total = length + request.max_tokens
    if total > info.max_model_len:
        raise PromptTooLong(
            f"the prompt has {length} tokens and max_tokens is {request.max_tokens}, together {total}; "
            f"the context of {info.model} is {info.max_model_len} tokens",
            param="prompt" if length >= info.max_model_len else "max_tokens",
        )
    need = -(-total // info.block_size)
    if not info.whole and need > info.num_blocks:
        raise PromptTooLong(
            f"{total} tokens need {need} cache blocks of {info.block_size} tokens and there are {info.num_blocks}; "
            "ask for fewer tokens, or start the server with a larger --kv-cache-memory",
            param="max_tokens",
        )
    _check_ids(request, info.vocab_size)


ROUTES = {
    "generate": "/v1/chat/completions and /v1/completions",
    "embed": "/v1/embeddings",
    "score": "/v1/rerank and /v1/score",
}


def check_task(task: str, info: EngineInfo) -> None:
    """Raise InvalidParameter if the model is not served for a task."""
    if task != info.task:
        raise InvalidParameter(
            f"{info.model} is served to {info.task}, not to {task}; it answers {ROUTES[info.task]}",
            param="model",
        )


def _check_pooled(request: Request) -> None:
    if request.task != "generate" and request.max_tokens:
        raise InvalidParameter(
            f"max_tokens is {request.max_tokens}; to {request.task} generates none",
            param="max_tokens",
        )
    if request.types and len(request.types) != len(request.prompt):
        raise InvalidParameter(
            f"{len(request.types)} token types for {len(request.prompt)} tokens", param="prompt"
        )


def _check_ids(request: Request, vocab_size: int) -> None:
    low, high = min(request.prompt), max(request.prompt)
    if low < 0 or high >= vocab_size:
        bad = low if low < 0 else high
        raise InvalidParameter(
            f"the prompt holds the token id {bad}; ids of {vocab_size} tokens are 0 to {vocab_size - 1}",
            param="prompt",
        )
    for name, ids in (
        ("logit_bias", request.sampling.logit_bias),
        ("stop_token_ids", request.sampling.stop_token_ids),
        ("allowed_token_ids", request.sampling.allowed_token_ids),
    ):
        for token in ids:
            if not 0 <= token < vocab_size:
                raise InvalidParameter(
                    f"{name} names the token id {token}; ids are 0 to {vocab_size - 1}", param=name
                )
