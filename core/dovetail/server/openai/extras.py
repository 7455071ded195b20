"""vLLM's additions to an answer: token ids, log-probabilities of the prompt, and usage in every chunk."""

from __future__ import annotations

from typing import Any

from dovetail.server.generation import Choice, Generation
from dovetail.text.reply import Delta
from dovetail.text.tokenizer import Tokenizer

from .asking import wants_continuous_usage
from .chunks import usage_fields
from .logprobs import prompt_entries
from .schema import SamplingFields


class Extras:
    """What a request asks for beyond OpenAI's fields. False where it asks for nothing: then none of it is called."""

    def __init__(self, asked: SamplingFields, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids = bool(asked.return_token_ids)
        self._scores = asked.prompt_logprobs is not None
        self._usage = wants_continuous_usage(asked)
        self._pending: dict[int, list[int]] = {}

    def __bool__(self) -> bool:
        return self._ids or self._scores or self._usage

    def watch(self, generation: Generation) -> None:
        """Have the deltas carry what is needed."""
        generation.keep_tokens = self._ids

    def add(self, choice: Choice, delta: Delta) -> None:
        """Tokens, to be told with the next chunk of the choice."""
        if self._ids:
            self._pending.setdefault(choice.index, []).extend(delta.tokens)

    def of_choice(self, choice: Choice) -> dict[str, Any]:
        """Fields of a choice's next chunk."""
        return {"token_ids": self._pending.pop(choice.index, [])} if self._ids else {}

    def of_whole(self, choice: Choice) -> dict[str, Any]:
        """Fields of a whole choice."""
        if not self._ids:
            return {}
        return {"token_ids": [token for delta in choice.parts for token in delta.tokens]}

    def of_prompt(self, choice: Choice) -> dict[str, Any]:
        """Fields about the prompt: told once."""
        made: dict[str, Any] = {"prompt_token_ids": list(choice.prompt)} if self._ids else {}
        if self._scores and choice.prompt_logprobs is not None:
            scores = prompt_entries(self._tokenizer, choice.prompt, choice.prompt_logprobs)
            made["prompt_logprobs"] = scores
        return made

    def of_chunk(self, generation: Generation) -> dict[str, Any]:
        """Fields of every chunk."""
        return {"usage": usage_fields(generation.usage())} if self._usage else {}
