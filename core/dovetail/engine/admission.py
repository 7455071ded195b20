"""What is refused before a request is queued: what can never fit."""

from __future__ import annotations

from dovetail.errors import InvalidParameter, PromptTooLong
from dovetail.request import Request

from .client import EngineInfo


def check_request(request: Request, info: EngineInfo) -> None:
    """Raise PromptTooLong or InvalidParameter if the engine can never run this request."""
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
    if need > info.num_blocks:
        raise PromptTooLong(
            f"{total} tokens need {need} cache blocks of {info.block_size} tokens and there are {info.num_blocks}; "
            "ask for fewer tokens, or start the server with a larger --kv-cache-memory",
            param="max_tokens",
        )
    _check_ids(request, info.vocab_size)


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
    ):
        for token in ids:
            if not 0 <= token < vocab_size:
                raise InvalidParameter(
                    f"{name} names the token id {token}; ids are 0 to {vocab_size - 1}", param=name
                )
