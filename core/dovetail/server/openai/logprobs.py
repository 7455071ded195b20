"""Log-probabilities in the forms of chat, legacy completions, and vLLM's prompt_logprobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dovetail.request import TokenLogprobs
from dovetail.text.reply import Delta, Scored
from dovetail.text.tokenizer import Tokenizer

LOWEST = -9999.0  # JSON has no -inf


def finite(value: float) -> float:
    """A log-probability that JSON can carry."""
    return value if value > LOWEST else LOWEST


def shown(delta: Delta) -> Sequence[Scored]:
    """The scored tokens but the one that ended the reply without being part of it."""
    scored = delta.scored
    if scored and isinstance(delta.stopped, int) and scored[-1].start == scored[-1].end:
        return scored[:-1]
    return scored


def chat_entries(
    tokenizer: Tokenizer, scored: Sequence[Scored], *, as_ids: bool = False
) -> list[dict[str, Any]]:
    """choices[].logprobs.content: one entry per token; as_ids: tokens are written token_id:N."""
    return [
        {
            **_chat_token(tokenizer, item.token, item.logprobs.logprob, as_ids),
            "top_logprobs": [
                _chat_token(tokenizer, token, value, as_ids)
                for token, value in zip(
                    item.logprobs.top_ids, item.logprobs.top_logprobs, strict=True
                )
            ],
        }
        for item in scored
    ]


def _chat_token(tokenizer: Tokenizer, token: int, value: float, as_ids: bool) -> dict[str, Any]:
    piece = tokenizer.piece(token)
    return {
        "token": f"token_id:{token}" if as_ids else piece.decode(errors="replace"),
        "logprob": finite(value),
        "bytes": list(piece),
    }


def legacy_token(tokenizer: Tokenizer, token: int) -> str:
    """A token's text; "bytes:\\xe4\\xbd" for one that is no whole character, as OpenAI wrote it."""
    text = tokenizer.piece_text(token)
    if text is not None:
        return text
    return "bytes:" + "".join(f"\\x{byte:02x}" for byte in tokenizer.piece(token))


class LegacyLogprobs:
    """choices[].logprobs of /v1/completions: four lists of one length."""

    def __init__(self, tokenizer: Tokenizer, *, as_ids: bool = False) -> None:
        """As_ids: tokens are written token_id:N."""
        self._tokenizer = tokenizer
        self._as_ids = as_ids
        self.tokens: list[str] = []
        self.token_logprobs: list[float | None] = []
        self.top_logprobs: list[dict[str, float] | None] = []
        self.text_offset: list[int] = []

    def add(self, token: int, logprobs: TokenLogprobs | None, offset: int) -> None:
        """One token; without logprobs for the first of a prompt."""
        text = self._text(token)
        self.tokens.append(text)
        self.text_offset.append(offset)
        if logprobs is None:
            self.token_logprobs.append(None)
            self.top_logprobs.append(None)
            return
        self.token_logprobs.append(finite(logprobs.logprob))
        top = {
            self._text(other): finite(value)
            for other, value in zip(
                reversed(logprobs.top_ids), reversed(logprobs.top_logprobs), strict=True
            )
        }
        top = dict(reversed(top.items()))
        top.setdefault(text, finite(logprobs.logprob))
        self.top_logprobs.append(top)

    def _text(self, token: int) -> str:
        return f"token_id:{token}" if self._as_ids else legacy_token(self._tokenizer, token)

    def add_scored(self, scored: Sequence[Scored], offset: int) -> None:
        """Tokens of a reply that begins at `offset`."""
        for item in scored:
            self.add(item.token, item.logprobs, offset + item.start)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "tokens": self.tokens,
            "token_logprobs": self.token_logprobs,
            "top_logprobs": self.top_logprobs,
            "text_offset": self.text_offset,
        }


def text_offsets(tokenizer: Tokenizer, ids: Sequence[int], text: str) -> list[int]:
    """Where each id begins in its text; special ids have a width where they are written in it."""
    decoder, offset, offsets = tokenizer.decoder(), 0, []
    for token in ids:
        offsets.append(min(offset, len(text)))
        if token not in tokenizer.special_ids:
            offset += len(decoder.push([token]))
            continue
        offset += len(decoder.flush())
        name = tokenizer.name_of(token) or ""
        if text.startswith(name, offset):
            offset += len(name)
    return offsets


def prompt_entries(
    tokenizer: Tokenizer, prompt: Sequence[int], logprobs: Sequence[TokenLogprobs | None]
) -> list[dict[str, Any] | None]:
    """vLLM's prompt_logprobs: per token null or {id: {logprob, rank, decoded_token}}."""
    return [
        None if item is None else _ranked(tokenizer, token, item)
        for token, item in zip(prompt, logprobs, strict=True)
    ]


def _ranked(tokenizer: Tokenizer, token: int, item: TokenLogprobs) -> dict[str, Any]:
    entries = {
        str(other): _entry(tokenizer, other, value, rank)
        for rank, (other, value) in enumerate(
            zip(item.top_ids, item.top_logprobs, strict=True), start=1
        )
    }
    entries.setdefault(str(token), _entry(tokenizer, token, item.logprob, None))
    return entries


def _entry(tokenizer: Tokenizer, token: int, value: float, rank: int | None) -> dict[str, Any]:
    text = tokenizer.piece(token).decode(errors="replace")
    return {"logprob": finite(value), "rank": rank, "decoded_token": text}
