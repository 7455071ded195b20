"""A model that makes vectors or scores of texts: how texts become its requests, and its numbers the answer's.

Prompts, lengths and normalisation are those of the model's sentence-transformers files. No server in here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dovetail.errors import InvalidParameter, PromptTooLong, UnsupportedParameter
from dovetail.request import Output, Request
from dovetail.sampling import SamplingParams

from .tokenizer import Tokenizer

F32 = NDArray[np.float32]
Input = str | Sequence[int]
KINDS = {
    "query": ("query", "search_query"),
    "document": ("document", "passage", "search_document"),
}
"""What an input is for -> the names that prompts for it have."""
MAX_DIMENSIONS = 1 << 20
NOTHING = SamplingParams()


class PooledFiles:
    """What sentence-transformers' files say of a model that has none."""

    include_prompt = True
    normalize = True
    lower_case = False
    prompts: Mapping[str, str] = {}
    default_prompt: str | None = None


@dataclass(frozen=True, kw_only=True)
class SentenceModel:
    """A served model that embeds or scores, in text.

    max_model_len  tokens of the longest input, special ones included
    width          numbers of a vector
    types          it tells segments apart
    mean           its pooling is the mean
    nested         lengths that vectors may be cut to: None for none, empty for any
    sigmoid        scores go through the logistic function
    """

    name: str
    tokenizer: Tokenizer
    task: Literal["embed", "score"]
    max_model_len: int
    vocab_size: int
    width: int
    types: bool
    mean: bool
    normalize: bool
    include_prompt: bool
    lower_case: bool
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None
    nested: frozenset[int] | None = None
    sigmoid: bool = True

    @classmethod
    def of(cls, checkpoint: Any, tokenizer: Tokenizer, info: Any) -> SentenceModel | None:
        """From a checkpoint's files and what the engine says of itself; None for a model that generates."""
        if info.task == "generate":
            return None
        files = checkpoint.sentence or PooledFiles
        return cls(
            name=checkpoint.name,
            tokenizer=tokenizer,
            task=info.task,
            max_model_len=info.max_model_len,
            vocab_size=info.vocab_size,
            width=info.width,
            types=info.types,
            mean=info.whole and getattr(files, "pooling", "mean") == "mean",
            normalize=files.normalize,
            include_prompt=files.include_prompt,
            lower_case=files.lower_case,
            prompts=files.prompts,
            default_prompt=files.default_prompt,
            nested=_nested(checkpoint.config, info.width),
            sigmoid=_sigmoid(checkpoint.config),
        )

    # ---------------------------------------------------------------------------------------- into the engine

    def prompt_for(self, kind: str) -> str:
        """The prompt of a query or a document, "" where the model has none."""
        return next((self.prompts[n] for n in KINDS[kind] if n in self.prompts), "")

    def prompt_named(self, name: str | None, *, param: str = "prompt_name") -> str:
        """The prompt of a name, or the model's default one. Raises InvalidParameter."""
        if name is None:
            return self.prompts[self.default_prompt] if self.default_prompt is not None else ""
        for known in (name, *KINDS.get(name, ()), *_like(name)):
            if known in self.prompts:
                return self.prompts[known]
        raise InvalidParameter(
            f"{param} is {name[:60]!r}; prompts of {self.name} are {', '.join(self.prompts) or '(none)'}",
            param=param,
        )

    def embed_request(
        self,
        given: Input,
        *,
        request_id: str,
        prompt: str = "",
        truncate: int | None = None,
        special: bool = True,
        priority: int = 0,
        param: str = "input",
    ) -> Request:
        """The request for an input's vector.

        prompt    text put before it
        truncate  tokens to keep at most; None refuses what is too long

        Raises PromptTooLong, InvalidParameter, UnsupportedParameter.
        """
        if not isinstance(given, str):
            return self._token_request(list(given), request_id, prompt, truncate, priority, param)
        if prompt and self.mean and not self.include_prompt:
            raise UnsupportedParameter(
                f"{self.name} leaves prompts out of its mean (include_prompt), which is not supported; "
                "send the input without a prompt",
                param="prompt",
            )
        ids, types = self.tokens(prompt + given, None, truncate, special=special, param=param)
        return self._request(ids, types, request_id, "embed", priority)

    def _token_request(
        self,
        ids: list[int],
        request_id: str,
        prompt: str,
        truncate: int | None,
        priority: int,
        param: str,
    ) -> Request:
        if prompt:
            raise UnsupportedParameter(
                "a prompt cannot be put before token ids; send text, or ids with the prompt in them",
                param="prompt",
            )
        if truncate is not None:
            ids = ids[: self._most(truncate)]
        if ids and not 0 <= (worst := max(ids) if min(ids) >= 0 else min(ids)) < self.vocab_size:
            raise InvalidParameter(
                f"{param} holds the token id {worst}; ids of {self.name} are 0 to {self.vocab_size - 1}",
                param=param,
            )
        self._fits(len(ids), param)
        return self._request(ids, b"", request_id, "embed", priority)

    def pair_request(
        self,
        query: str,
        document: str,
        *,
        request_id: str,
        truncate: int | None = None,
        priority: int = 0,
        param: str = "documents",
    ) -> Request:
        """The request for the score of a pair; `truncate` as in embed_request, the longer of the two loses tokens."""
        ids, types = self.tokens(query, document, truncate, special=True, param=param)
        return self._request(ids, types, request_id, "score", priority)

    def tokens(
        self, text: str, pair: str | None, truncate: int | None, *, special: bool, param: str
    ) -> tuple[list[int], bytes]:
        """Ids of a text or a pair, and their types where the model has them."""
        texts = [text] if pair is None else [text, pair]
        room = self.max_model_len * self.tokenizer.longest
        if truncate is not None:
            texts = [part[:room] for part in texts]
        elif sum(map(len, texts)) > room:
            raise PromptTooLong(
                f"{param} has {sum(map(len, texts))} characters; {self.name} takes at most {self.max_model_len} tokens of at "
                f"most {self.tokenizer.longest} bytes; shorten it, or set truncate_prompt_tokens",
                param=param,
            )
        if self.lower_case:
            texts = [part.lower() for part in texts]
        most = None if truncate is None else self._most(truncate)
        ids, types = self.tokenizer.encode_parts(texts, most=most, add_special_tokens=special)
        self._fits(len(ids), param)
        return ids, bytes(types) if self.types and any(types) else b""

    def _most(self, truncate: int) -> int:
        """-1 keeps what the model takes."""
        if truncate == -1:
            return self.max_model_len
        if not 1 <= truncate <= self.max_model_len:
            raise InvalidParameter(
                f"truncate_prompt_tokens is {truncate}; it must be -1 or 1 to {self.max_model_len}",
                param="truncate_prompt_tokens",
            )
        return truncate

    def _fits(self, length: int, param: str) -> None:
        if not length:
            raise InvalidParameter(f"{param} is empty; it needs at least one token", param=param)
        if length > self.max_model_len:
            raise PromptTooLong(
                f"{param} has {length} tokens; {self.name} takes at most {self.max_model_len}; shorten it, or set "
                "truncate_prompt_tokens to -1",
                param=param,
            )

    def _request(
        self,
        ids: list[int],
        types: bytes,
        request_id: str,
        task: Literal["embed", "score"],
        priority: int,
    ) -> Request:
        return Request(
            id=request_id,
            prompt=ids,
            sampling=NOTHING,
            max_tokens=0,
            priority=priority,
            task=task,
            types=types,
        )

    # ---------------------------------------------------------------------------------------- and out of it

    def check_dimensions(self, dimensions: int | None) -> None:
        """Raise InvalidParameter for a length that vectors cannot be cut to."""
        if dimensions is None or dimensions == self.width:
            return
        if not 1 <= dimensions <= self.width:
            raise InvalidParameter(
                f"dimensions is {dimensions}; vectors of {self.name} have {self.width}",
                param="dimensions",
            )
        if self.nested is None:
            raise InvalidParameter(
                f"dimensions is {dimensions}; {self.name} does not say that its vectors may be cut "
                f"(is_matryoshka or matryoshka_dimensions in config.json), so they have {self.width}",
                param="dimensions",
            )
        if self.nested and dimensions not in self.nested:
            raise InvalidParameter(
                f"dimensions is {dimensions}; vectors of {self.name} may be cut to "
                f"{', '.join(map(str, sorted(self.nested)))}",
                param="dimensions",
            )

    def vector(
        self, output: Output, dimensions: int | None = None, normalize: bool | None = None
    ) -> F32:
        """The vector of an output, cut and then given length 1 as the model or the request wants.

        Source: Kusupati et al. 2022 (Matryoshka representations): the first numbers of a vector are one of their own.
        """
        vector = np.frombuffer(output.vector, "<f4")[:dimensions].astype(np.float32)
        if self.normalize if normalize is None else normalize:
            length = float(np.linalg.norm(vector))
            vector = vector / np.float32(max(length, 1e-12))
        return vector

    def score(self, output: Output) -> float:
        """The number of a classification head, through the logistic function where the model says so."""
        number = float(np.frombuffer(output.vector, "<f4")[0])
        if not self.sigmoid:
            return number
        return 1 / (1 + math.exp(-number)) if number >= 0 else 1 - 1 / (1 + math.exp(number))


def cosine(a: F32, b: F32) -> float:
    """Of the angle between two vectors; 0 where one of them has no length."""
    lengths = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    return float(a @ b) / lengths if lengths else 0.0


def _like(name: str) -> Sequence[str]:
    """Other names of what a name is for."""
    return next((names for names in KINDS.values() if name in names), ())


def _nested(config: Mapping[str, Any], width: int) -> frozenset[int] | None:
    listed = config.get("matryoshka_dimensions")
    if isinstance(listed, list):
        return frozenset(n for n in listed if type(n) is int and 0 < n <= width) | {width}
    return frozenset() if config.get("is_matryoshka") is True else None


def _sigmoid(config: Mapping[str, Any]) -> bool:
    """Whether scores are probabilities: unless the checkpoint names the identity, as sentence-transformers has it."""
    settings = config.get("sentence_transformers")
    name = settings.get("activation_fn") if isinstance(settings, dict) else None
    name = name or config.get("sbert_ce_default_activation_function") or "Sigmoid"
    return not str(name).endswith("Identity")
