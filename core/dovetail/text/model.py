"""What the text side knows of a served model, and how an ask in text becomes a request in tokens."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from dovetail.errors import CheckpointError, InvalidParameter, PromptTooLong, RequestError
from dovetail.request import Request
from dovetail.sampling import SamplingParams

from .breakers import Breakers
from .parts import Speech
from .speech import speech_of
from .template import ChatTemplate, Message
from .tokenizer import Tokenizer

SEEDS = 1 << 64
MAX_IDS = {"stop_token_ids": 1024, "allowed_token_ids": 16_384}


class ModelFiles(Protocol):
    """The small files of a model, as weights/checkpoint.py finds them."""

    @property
    def name(self) -> str: ...
    @property
    def tokenizer_file(self) -> Any: ...
    @property
    def tokenizer_config(self) -> Mapping[str, Any]: ...
    @property
    def chat_template(self) -> str | None: ...
    @property
    def generation(self) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class TextModel:
    """A served model, in text.

    eos_ids         ids that end a sequence
    defaults        sampling parameters where a request says nothing
    max_model_len   tokens of context, prompt and output together
    vocab_size      of the model; ids of prompts are below it
    seed            of requests that bring none; None draws a fresh one each time
    speech          how it writes reasoning and calls; None for plain text alone
    """

    name: str
    tokenizer: Tokenizer
    template: ChatTemplate | None
    eos_ids: frozenset[int]
    max_model_len: int
    vocab_size: int
    defaults: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    speech: Speech | None = None
    breakers: Breakers = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "breakers", Breakers(self.tokenizer))

    @classmethod
    def load(
        cls,
        files: ModelFiles,
        *,
        vocab_size: int,
        max_model_len: int,
        seed: int | None = None,
        calls: str | None = None,
        reasoning: str | None = None,
    ) -> TextModel:
        """Read tokenizer and template; raises CheckpointError if they are damaged or do not fit.

        calls, reasoning  names of the formats it writes them in; None: as its chat template tells
        """
        tokenizer = Tokenizer.load(
            files.tokenizer_file, files.tokenizer_config, vocab_size=vocab_size
        )
        source = files.chat_template
        template = _template(source, tokenizer, files) if source is not None else None
        return cls(
            name=files.name,
            tokenizer=tokenizer,
            template=template,
            eos_ids=_eos_ids(files.generation.eos_ids, tokenizer),
            max_model_len=max_model_len,
            vocab_size=vocab_size,
            defaults=_sampling_defaults(files.generation),
            seed=seed,
            speech=speech_of(template, tokenizer, calls=calls, reasoning=reasoning),
        )

    def render(self, messages: Sequence[Message], **options: Any) -> str:
        """Prompt text of a chat; options as ChatTemplate.render. Raises RequestError."""
        if self.template is None:
            raise RequestError(
                f"{self.name} has no chat template; use /v1/completions, or give the model a chat_template.jinja",
                param="messages",
            )
        if not messages:
            raise InvalidParameter(
                "messages is empty; it needs at least one message", param="messages"
            )
        if self.speech is not None:
            messages = self.speech.messages(messages)
        return self.template.render(messages, **options)

    def encode(
        self, text: str, *, add_special_tokens: bool = True, param: str = "prompt"
    ) -> list[int]:
        """Ids of a prompt's text. Raises PromptTooLong, before any work, if it cannot fit the context."""
        most = self.max_model_len * self.tokenizer.longest
        if len(text) > most:
            raise PromptTooLong(
                f"the prompt has {len(text)} characters; the context of {self.name} is {self.max_model_len} tokens of "
                f"at most {self.tokenizer.longest} bytes, so it cannot hold more than {most}; shorten the prompt",
                param=param,
            )
        return self.tokenizer.encode(text, add_special_tokens=add_special_tokens)

    def sampling(self, **given: Any) -> SamplingParams:
        """Sampling parameters: what is given and not None, the model's defaults, then the engine's."""
        for name, most in MAX_IDS.items():
            if len(given.get(name) or ()) > most:
                raise InvalidParameter(
                    f"{name} has {len(given[name])} ids; at most {most} are allowed", param=name
                )
        values = {**self.defaults, **{k: v for k, v in given.items() if v is not None}}
        if given.get("max_tokens", 0) is None:
            values["max_tokens"] = None
        return SamplingParams(**values)

    def request(
        self,
        prompt: Sequence[int],
        params: SamplingParams,
        *,
        request_id: str,
        index: int = 0,
        priority: int = 0,
        salt: str = "",
        clip: bool = False,
    ) -> Request:
        """The request for completion `index` of a prompt. Raises PromptTooLong or InvalidParameter.

        clip  max_tokens was nobody's wish: cut it to what the context leaves
        """
        room = self._room(len(prompt), params, clip) if prompt else 0
        prompt = list(prompt)
        self.check_prompt(prompt)
        self._check_ids(params)
        seed = params.seed if params.seed is not None else self.seed
        return Request(
            id=request_id,
            prompt=prompt,
            sampling=params,
            max_tokens=room,
            stop_ids=self._stop_ids(params),
            breakers=self.breakers.ids(params.dry_sequence_breakers) if params.dry else [],
            bad=self._spelled(params.bad_words),
            seed=secrets.randbits(64) if seed is None else (seed + index) % SEEDS,
            priority=priority,
            salt=salt,
        )

    def _spelled(self, words: Sequence[str]) -> list[list[int]]:
        """Token ids of words as they begin a text, and as they stand after a space."""
        texts = dict.fromkeys(t for word in words for t in (word.lstrip(), f" {word.lstrip()}"))
        return [self.tokenizer.encode(text, add_special_tokens=False) for text in texts]

    def check_prompt(self, prompt: Sequence[int]) -> None:
        """Raise unless it is a prompt of this model's ids."""
        if not prompt:
            raise InvalidParameter(
                "the prompt is empty; it needs at least one token", param="prompt"
            )
        worst = max(prompt) if min(prompt) >= 0 else min(prompt)
        if not 0 <= worst < self.vocab_size:
            raise InvalidParameter(
                f"the prompt holds the token id {worst}; ids of {self.name} are 0 to {self.vocab_size - 1}",
                param="prompt",
            )

    def _check_ids(self, params: SamplingParams) -> None:
        for name in ("logit_bias", "stop_token_ids", "allowed_token_ids"):
            for token in getattr(params, name):
                if token >= self.vocab_size:
                    raise InvalidParameter(
                        f"{name} holds the token id {token}; ids of {self.name} are 0 to {self.vocab_size - 1}",
                        param=name,
                    )

    def _stop_ids(self, params: SamplingParams) -> frozenset[int]:
        """Ids that end a sequence; raises if min_tokens forbids every id there is."""
        stop_ids = frozenset(params.stop_token_ids)
        if (
            not params.ignore_eos or params.grammar is not None
        ):  # a grammar that is complete must end
            stop_ids |= self.eos_ids
        if params.min_tokens and len(stop_ids) >= self.vocab_size:
            raise InvalidParameter(
                f"min_tokens is {params.min_tokens} and stop_token_ids holds all {self.vocab_size} ids of "
                f"{self.name}: no token could be drawn; leave one of the two out",
                param="stop_token_ids",
            )
        if (
            params.min_tokens
            and params.allowed_token_ids
            and stop_ids.issuperset(params.allowed_token_ids)
        ):
            raise InvalidParameter(
                f"min_tokens is {params.min_tokens} and allowed_token_ids holds nothing but ids that end the reply: no "
                "token could be drawn; leave one of the two out",
                param="allowed_token_ids",
            )
        return stop_ids

    def _room(self, length: int, params: SamplingParams, clip: bool) -> int:
        """Tokens to generate at most: as asked, or what the context leaves."""
        left = self.max_model_len - length
        asked = params.max_tokens
        if left < (0 if asked == 0 else 1):
            raise PromptTooLong(
                f"the prompt has {length} tokens and the context of {self.name} is {self.max_model_len} tokens, "
                "prompt and output together; shorten the prompt",
                param="prompt",
            )
        if asked is None:
            return left
        if asked > left and not clip:
            raise PromptTooLong(
                f"the context of {self.name} is {self.max_model_len} tokens; the prompt has {length} and max_tokens is "
                f"{asked}, together {length + asked}; ask for at most {left}, or leave max_tokens out",
                param="max_tokens",
            )
        return min(asked, left)


def _template(source: str, tokenizer: Tokenizer, files: ModelFiles) -> ChatTemplate:
    """Raises CheckpointError that names the file it is from."""
    try:
        return ChatTemplate(source, tokenizer.special)
    except CheckpointError as error:
        path = files.tokenizer_file.with_name("chat_template.jinja")
        if not path.exists():
            path = path.with_name("tokenizer_config.json")
        raise CheckpointError(f"{path}: {error}") from None


def _eos_ids(declared: Sequence[int], tokenizer: Tokenizer) -> frozenset[int]:
    """The ids the model declares, and the tokenizer's own end-of-sequence token."""
    own = tokenizer.special.get("eos_token")
    token = tokenizer.id_of(own) if own is not None else None
    return frozenset(declared) | (frozenset() if token is None else {token})


def _sampling_defaults(generation: Any) -> dict[str, Any]:
    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
    found = {name: getattr(generation, name) for name in names}
    if generation.do_sample is False:
        found["temperature"] = 0.0
    return {name: value for name, value in found.items() if value is not None}
