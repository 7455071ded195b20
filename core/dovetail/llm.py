"""The library: generate text in this process, without a server.

    from dovetail import LLM, SamplingParams

    llm = LLM("demo")
    print(llm.generate("Two and two is", SamplingParams(max_tokens=8))[0].text)
    print(llm.chat([{"role": "user", "content": "Hello!"}])[0].text)

`AsyncLLM` is the same for programs with an event loop, and streams.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from . import pooled
from .config import EngineConfig
from .engine.client import EngineClient, Stream
from .engine.driven import Driven
from .engine.load import load_engine
from .errors import EngineStopped, InvalidParameter
from .request import Output, Request, TokenLogprobs
from .sampling import SamplingParams
from .text.model import TextModel
from .text.reply import Delta, Reply, deltas
from .text.sentences import SentenceModel
from .weights.checkpoint import open_checkpoint

Prompt = str | Sequence[int]
Message = Mapping[str, Any]
Params = SamplingParams | None


@dataclass(slots=True)
class CompletionOutput:
    """One of a prompt's completions.

    token_ids  the generated ids, the one that ended it included
    logprobs   one per token, if asked for
    stopped    the stop string or token id that ended it, if one did
    """

    index: int
    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs] | None = None
    finish_reason: str | None = None
    stopped: str | int | None = None


@dataclass(slots=True)
class Completion:
    """A prompt and its completions.

    cached_tokens    of the prompt, taken from the prefix cache
    prompt_logprobs  one per prompt token, None for the first, if asked for
    """

    prompt: str | None
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]
    cached_tokens: int = 0
    prompt_logprobs: list[TokenLogprobs | None] | None = None

    @property
    def text(self) -> str:
        """Text of the first completion."""
        return self.outputs[0].text


class _Job:
    """One request on its way: gathers its outputs.

    continues  the text goes on where the prompt's ends (completions, not replies in a chat)
    """

    __slots__ = ("completion", "output", "reply", "request")

    def __init__(
        self,
        completion: Completion,
        output: CompletionOutput,
        request: Request,
        model: TextModel,
        *,
        continues: bool,
    ) -> None:
        self.completion = completion
        self.output = output
        self.request = request
        before = request.prompt if continues else ()
        self.reply = Reply(model.tokenizer, request.sampling, prompt=before)

    def take(self, output: Output) -> Delta:
        """Add an output. The delta's `finish` is set when the reply has ended, perhaps before the request has."""
        into = self.output
        delta = self.reply.feed(output)
        into.text += delta.text
        into.token_ids += output.tokens
        if output.logprobs is not None:
            into.logprobs = into.logprobs or []
            into.logprobs += output.logprobs
        if output.prompt_logprobs is not None:
            self.completion.prompt_logprobs = output.prompt_logprobs
        if output.cached >= 0 and into.index == 0:
            self.completion.cached_tokens = output.cached
        if delta.finish is not None:
            into.finish_reason = str(delta.finish)
            into.stopped = delta.stopped
        return delta


class _Ask:
    """Turns prompts into requests; what LLM and AsyncLLM share."""

    def __init__(self, model: TextModel) -> None:
        self.model = model
        self._numbers = itertools.count()

    def jobs(self, prompt: Prompt, params: Params) -> list[_Job]:
        """One job for each of the prompt's n completions. Raises RequestError."""
        params = params or self.model.sampling(max_tokens=None)
        text = prompt if isinstance(prompt, str) else None
        ids = self.model.encode(prompt) if isinstance(prompt, str) else list(prompt)
        return self._jobs(text, ids, params, continues=True)

    def chat_jobs(
        self, messages: Sequence[Message], params: Params, options: Mapping[str, Any]
    ) -> list[_Job]:
        """The same for a conversation; options go to the chat template."""
        params = params or self.model.sampling(max_tokens=None)
        text = self.model.render(messages, **options)
        ids = self.model.encode(text, add_special_tokens=False)
        return self._jobs(text, ids, params, continues=False)

    def _jobs(
        self, text: str | None, ids: list[int], params: SamplingParams, *, continues: bool
    ) -> list[_Job]:
        completion = Completion(text, ids, [CompletionOutput(index) for index in range(params.n)])
        return [
            _Job(
                completion,
                output,
                self.model.request(
                    ids, params, request_id=f"llm-{next(self._numbers)}", index=output.index
                ),
                self.model,
                continues=continues,
            )
            for output in completion.outputs
        ]


class LLM:
    """A model in this process; calls block until all their completions are there.

    model     directory, hub id, or "demo"
    settings  fields of EngineConfig, by name

    Raises ConfigError, PlatformError or CheckpointError if the model cannot be loaded.
    """

    def __init__(self, model: str = "demo", **settings: Any) -> None:
        config = _config(model, settings)
        checkpoint = open_checkpoint(config.model, revision=config.revision)
        self.engine: Driven = load_engine(config, checkpoint)
        self._closed = False
        self._ask = _Ask(_text_model(checkpoint, self.engine.info, config))
        tokenizer = self._ask.model.tokenizer
        self._sentences = SentenceModel.of(checkpoint, tokenizer, self.engine.info)

    def generate(
        self, prompts: Prompt | Sequence[Prompt], sampling_params: Params = None
    ) -> list[Completion]:
        """Complete each prompt: text, token ids, or a list of either. Results in the order of the prompts."""
        return self._run([self._ask.jobs(prompt, sampling_params) for prompt in _prompts(prompts)])

    def chat(
        self,
        messages: Sequence[Message] | Sequence[Sequence[Message]],
        sampling_params: Params = None,
        **template_options: Any,
    ) -> list[Completion]:
        """Answer one conversation, or each of several."""
        return self._run(
            [
                self._ask.chat_jobs(each, sampling_params, template_options)
                for each in _conversations(messages)
            ]
        )

    def embed(
        self,
        inputs: Prompt | Sequence[Prompt],
        *,
        prompt_name: str | None = None,
        dimensions: int | None = None,
        truncate: bool = False,
    ) -> NDArray[np.float32]:
        """Vectors [n, width] of texts or token ids, one row per input.

        prompt_name  of the model's own prompts, put before each text
        dimensions   length to cut vectors to, for models that say they may be cut
        truncate     cut inputs that are too long, instead of raising PromptTooLong
        """
        return pooled.embed(
            self._open(),
            self._pooling(),
            inputs,
            prompt_name=prompt_name,
            dimensions=dimensions,
            truncate=truncate,
        )

    def score(self, query: str, documents: Sequence[str], *, truncate: bool = False) -> list[float]:
        """How well each document answers the query: by a classification head, or the cosine of vectors."""
        return pooled.score(self._open(), self._pooling(), query, documents, truncate=truncate)

    def _pooling(self) -> SentenceModel:
        if self._sentences is None:
            name = self.engine.info.model
            raise InvalidParameter(f"{name} generates text and makes no vectors or scores")
        return self._sentences

    def _open(self) -> Driven:
        if self._closed:
            raise EngineStopped("this LLM was closed; make another one")
        return self.engine

    def _run(self, groups: list[list[_Job]]) -> list[Completion]:
        self._open()
        jobs = {job.request.id: job for group in groups for job in group}
        for request in [job.request for job in jobs.values()]:
            self.engine.submit(request)
        try:
            while jobs:
                for output in self.engine.step():
                    job = jobs.get(output.request_id)
                    if job is not None and job.take(output).finish is not None:
                        del jobs[output.request_id]
                        if output.finish is None:  # a stop string: the engine knows no text
                            self.engine.cancel(output.request_id)
        finally:
            for request_id in jobs:
                self.engine.cancel(request_id)
        return [group[0].completion for group in groups]

    def close(self) -> None:
        """Give the device back. Twice does no harm."""
        self._closed = True
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncLLM:
    """A model for programs with an event loop: `llm = await AsyncLLM.start("demo")`."""

    def __init__(self, client: EngineClient, model: TextModel) -> None:
        self.client = client
        self._ask = _Ask(model)

    @classmethod
    async def start(
        cls, model: str = "demo", *, in_process: bool = True, **settings: Any
    ) -> AsyncLLM:
        """Load a model; `in_process=False` gives the engine a process of its own."""
        from .engine import start_engine

        config = _config(model, settings)
        checkpoint = open_checkpoint(config.model, revision=config.revision)
        client = await start_engine(config, checkpoint, in_process=in_process)
        return cls(client, _text_model(checkpoint, client.info, config))

    async def generate(self, prompt: Prompt, sampling_params: Params = None) -> Completion:
        """Complete one prompt; run several at once with asyncio.gather."""
        return await self._finish(self._ask.jobs(prompt, sampling_params))

    async def chat(
        self, messages: Sequence[Message], sampling_params: Params = None, **template_options: Any
    ) -> Completion:
        """Answer a conversation."""
        return await self._finish(self._ask.chat_jobs(messages, sampling_params, template_options))

    async def stream(
        self, prompt: Prompt | Sequence[Message], sampling_params: Params = None
    ) -> AsyncIterator[Delta]:
        """Text as it comes, of one completion of a prompt or a conversation."""
        if not isinstance(prompt, str) and prompt and isinstance(prompt[0], Mapping):
            jobs = self._ask.chat_jobs(prompt, sampling_params, {})  # type: ignore[arg-type]
        else:
            jobs = self._ask.jobs(prompt, sampling_params)  # type: ignore[arg-type]
        if len(jobs) != 1:
            raise InvalidParameter(f"n is {len(jobs)}; a stream has one completion", param="n")
        stream = await self.client.submit(jobs[0].request)
        try:
            async for delta in deltas(stream, jobs[0].reply):
                yield delta
        finally:
            stream.cancel()

    async def _finish(self, jobs: list[_Job]) -> Completion:
        streams: list[Stream] = []
        try:
            for job in jobs:
                streams.append(await self.client.submit(job.request))
            for job, stream in zip(jobs, streams, strict=True):
                async for output in stream:
                    if job.take(output).finish is not None:
                        break
        finally:
            for stream in streams:
                stream.cancel()
        return jobs[0].completion

    async def close(self) -> None:
        """Stop the engine."""
        await self.client.close()


def _config(model: str, settings: Mapping[str, Any]) -> EngineConfig:
    known = EngineConfig.__dataclass_fields__
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise TypeError(f"unknown settings {', '.join(unknown)}; known are {', '.join(known)}")
    return EngineConfig(model=model, **settings)


def _text_model(checkpoint: Any, info: Any, config: EngineConfig) -> TextModel:
    return TextModel.load(
        checkpoint, vocab_size=info.vocab_size, max_model_len=info.max_model_len, seed=config.seed
    )


def _prompts(prompts: Prompt | Sequence[Prompt]) -> Sequence[Prompt]:
    if isinstance(prompts, str) or (len(prompts) > 0 and isinstance(prompts[0], int)):
        return [prompts]  # type: ignore[list-item]
    return prompts  # type: ignore[return-value]


def _conversations(
    messages: Sequence[Message] | Sequence[Sequence[Message]],
) -> Sequence[Sequence[Message]]:
    if messages and isinstance(messages[0], Mapping):
        return [messages]  # type: ignore[list-item]
    return messages  # type: ignore[return-value]
