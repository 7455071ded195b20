"""Where `chat` and `bench` get tokens from: a model loaded here, or a server at a URL."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

from dovetail.config import EngineConfig
from dovetail.engine import start_engine
from dovetail.engine.client import EngineClient
from dovetail.errors import RequestError
from dovetail.text.model import TextModel
from dovetail.text.reply import Reply, deltas
from dovetail.weights.checkpoint import open_checkpoint

from .http import ServerConnection
from .models import named_model


class Source(Protocol):
    """Something that answers.

    name        of the model
    vocab_size  ids that `tokens` may use are below it
    """

    name: str
    vocab_size: int

    def chat(
        self, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
    ) -> AsyncIterator[str]:
        """Pieces of the reply's text; closing the iterator ends the request. Options as SamplingParams names them."""

    def tokens(self, prompt: Sequence[int], max_tokens: int) -> AsyncIterator[int]:
        """How many new tokens came, each time some come; greedy, never ending early."""

    async def close(self) -> None:
        """Give everything back."""


def is_url(text: str) -> bool:
    """Whether this names a server rather than a model."""
    return text.startswith(("http://", "https://"))


async def open_source(model: str, config: EngineConfig, *, api_key: str | None = None) -> Source:
    """A server if `model` is a URL, else the model, loaded. Raises DovetailError."""
    if is_url(model):
        return await RemoteSource.open(model, api_key)
    return await LocalSource.open(config)


class LocalSource:
    """A model on an engine of our own."""

    def __init__(self, engine: EngineClient, text: TextModel) -> None:
        self._engine = engine
        self.text = text
        self.name = text.name
        self.vocab_size = text.vocab_size
        self._ids = itertools.count()

    @classmethod
    async def open(cls, config: EngineConfig) -> LocalSource:
        """Load model and engine."""
        with named_model(config.model):
            checkpoint = open_checkpoint(config.model, revision=config.revision)
        engine = await start_engine(config, checkpoint)
        try:
            text = TextModel.load(
                checkpoint,
                vocab_size=engine.info.vocab_size,
                max_model_len=engine.info.max_model_len,
                seed=config.seed,
            )
        except BaseException:
            await engine.close()
            raise
        return cls(engine, text)

    async def chat(
        self, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
    ) -> AsyncIterator[str]:
        prompt = self.text.tokenizer.encode(self.text.render(messages), add_special_tokens=False)
        async for piece in self._reply(prompt, options, before=()):
            yield piece

    async def complete(
        self, prompt: Sequence[int], options: Mapping[str, Any]
    ) -> AsyncIterator[str]:
        """Pieces of text that follow a prompt."""
        async for piece in self._reply(prompt, options, before=prompt):
            yield piece

    async def _reply(
        self, prompt: Sequence[int], options: Mapping[str, Any], *, before: Sequence[int]
    ) -> AsyncIterator[str]:
        """The same; before: the ids whose text the reply's goes on from."""
        params = self.text.sampling(**{"max_tokens": None, **options})
        request = self.text.request(prompt, params, request_id=f"cli-{next(self._ids)}")
        stream = await self._engine.submit(request)
        try:
            async for delta in deltas(stream, Reply(self.text.tokenizer, params, prompt=before)):
                yield delta.text
        finally:
            stream.cancel()

    async def tokens(self, prompt: Sequence[int], max_tokens: int) -> AsyncIterator[int]:
        params = self.text.sampling(temperature=0.0, max_tokens=max_tokens, ignore_eos=True)
        request = self.text.request(prompt, params, request_id=f"cli-{next(self._ids)}")
        async for output in await self._engine.submit(request):
            yield len(output.tokens)

    async def close(self) -> None:
        await self._engine.close()


class RemoteSource:
    """A server that speaks OpenAI's API."""

    def __init__(self, connection: ServerConnection, name: str) -> None:
        self._connection = connection
        self.name = name
        self.vocab_size = 1000  # unknown; ids below it are words in every common vocabulary

    @classmethod
    async def open(cls, url: str, api_key: str | None) -> RemoteSource:
        """Ask the server for its first model."""
        connection = ServerConnection(url, api_key)
        listed = await connection.get("/v1/models")
        models = listed.get("data") if isinstance(listed, dict) else None
        if not models:
            raise RequestError(f"{url} lists no models at /v1/models")
        return cls(connection, str(models[0]["id"]))

    async def chat(
        self, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
    ) -> AsyncIterator[str]:
        body = {"model": self.name, "messages": messages, "stream": True, **options}
        async for event in self._connection.events("/v1/chat/completions", body):
            for choice in event.get("choices", ()):
                yield choice["delta"].get("content") or ""

    async def tokens(self, prompt: Sequence[int], max_tokens: int) -> AsyncIterator[int]:
        body = {
            "model": self.name,
            "prompt": list(prompt),
            "max_tokens": max_tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        counted = 0
        async for event in self._connection.events("/v1/completions", body):
            if event.get("choices"):
                counted += 1
                yield 1
            elif usage := event.get("usage"):
                yield max(0, usage["completion_tokens"] - counted)  # events may hold several

    async def close(self) -> None:
        """Every request has a connection of its own; nothing to do."""
