"""POST /v1/chat/completions."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dovetail.request import FinishReason
from dovetail.server.ask import Ask, template_variables
from dovetail.server.conversation import converse
from dovetail.server.generation import Choice, Generation
from dovetail.server.life import limit_time
from dovetail.server.limits import read_json
from dovetail.server.served import Served, fresh_id
from dovetail.server.sse import begin, encode
from dovetail.text.parts import Block, Call, CallArguments, CallStart, Part, Reasoning, Text, joined
from dovetail.text.reply import Delta, Scored

from .asking import (
    check_free_form,
    refuse_unsupported,
    sampling_of_chat,
    tool_choice_of,
    truncation_of,
    wants_usage,
)
from .chunks import DONE, Chunks, fingerprint, usage_fields
from .extras import Extras
from .logprobs import chat_entries, shown
from .messages import plain_messages, plain_tools, strict_names
from .schema import ChatRequest

decoder = msgspec.json.Decoder(ChatRequest)


async def chat(request: Request) -> Response:
    """Answer a chat, whole or streamed."""
    served: Served = request.app.state.served
    asked = await read_json(request, decoder, max_bytes=served.max_body_bytes)
    limit_time(asked.timeout)
    model = served.name(asked.model)
    refuse_unsupported(asked)
    check_free_form(asked)
    ask = ask_of(asked, served, request.state.size)
    answer_id = fresh_id("chatcmpl")
    generation = await converse(served, ask, request_id=answer_id)
    generation.watch(request.receive)
    answer = ChatAnswer(asked, model, answer_id, served)
    answer.extras.watch(generation)
    if asked.stream:
        return await begin(generation, answer.stream(generation))
    return await answer.whole(generation)


def ask_of(asked: ChatRequest, served: Served, size: int) -> Ask:
    """What is asked, in no dialect; size: bytes of the request. Raises RequestError."""
    continued, opened = bool(asked.continue_final_message), asked.add_generation_prompt
    tools = plain_tools(asked.tools)
    sampling = sampling_of_chat(asked, served.text)
    return Ask(
        messages=plain_messages(asked.messages),
        sampling=sampling,
        tools=tools,
        tool_choice=tool_choice_of(asked.tool_choice, bool(tools)),
        strict=strict_names(asked.tools),
        parallel=asked.parallel_tool_calls is not False,
        documents=asked.documents,
        open_reply=not continued if opened is None else opened,
        continue_last=continued,
        special_tokens=bool(asked.add_special_tokens),
        variables=template_variables(asked.chat_template_kwargs),
        effort=asked.reasoning_effort,
        keep_last=truncation_of(asked, sampling, served.text),
        priority=asked.priority or 0,
        salt=asked.cache_salt or "",
        size=size,
    )


class ChatAnswer:
    """Writes the answer to one request."""

    def __init__(self, asked: ChatRequest, model: str, answer_id: str, served: Served) -> None:
        self._tokenizer = served.text.tokenizer
        self._logprobs = bool(asked.logprobs)
        self._reasoning = asked.include_reasoning is not False
        self._as_ids = bool(asked.return_tokens_as_token_ids)
        self.extras = Extras(asked, self._tokenizer)
        self._more = bool(self.extras)  # asked per chunk
        self._generation: Generation | None = None
        self._fingerprint = fingerprint(served.engine.info)
        self._fields: dict[str, Any] = {"created": int(time.time()), "model": model}
        if asked.service_tier is not None:
            self._fields["service_tier"] = "default"  # the only one there is
        self._id = answer_id
        self._chunks = Chunks(
            chunk_id=answer_id,
            kind="chat.completion.chunk",
            usage=wants_usage(asked),
            fields=self._fields,
        )

    async def stream(self, generation: Generation) -> AsyncIterator[bytes]:
        """Events: the role first, the end of each choice once, usage if asked for, [DONE]."""
        self._generation = generation
        async for choice, delta in generation.events():
            event = self._event(choice, delta)
            if event:
                yield event
        if not generation.gone:
            yield self._chunks.usage(generation.usage()) + DONE

    def _event(self, choice: Choice, delta: Delta) -> bytes:
        if choice.opened and not (self._more or self._logprobs or delta.parts or delta.finish):
            return self._chunks.said(choice.index, delta.text) if delta.text else b""
        scored = shown(delta)
        out: list[bytes] = []
        if self._more:
            self.extras.add(choice, delta)
        if not choice.opened:
            out.append(self._chunk(choice, b'{"role":"assistant","content":""}'))
            choice.opened = True
        if delta.text or scored:
            content = b'{"content":' + encode(delta.text) + b"}"
            out.append(self._chunk(choice, content, self._scored(scored)))
        out += [self._chunk(choice, part) for part in map(self._part, delta.parts) if part]
        if delta.finish is not None:
            out.append(self._chunk(choice, b"{}", finish=_finish(choice, delta.finish)))
        return b"".join(out)

    def _chunk(
        self, choice: Choice, delta: bytes, logprobs: bytes = b"null", finish: str | None = None
    ) -> bytes:
        start = self._chunks.start(choice.index)
        end = self._detailed(choice, finish) if self._more else self._chunks.end(finish)
        return b"".join((start, b'"delta":', delta, b',"logprobs":', logprobs, end))

    def _detailed(self, choice: Choice, finish: str | None) -> bytes:
        assert self._generation is not None
        chunk = self.extras.of_chunk(self._generation)
        if not choice.opened:
            chunk |= self.extras.of_prompt(choice)
        return self._chunks.detailed(finish, self.extras.of_choice(choice), chunk)

    def _scored(self, scored: Sequence[Scored]) -> bytes:
        if not self._logprobs:
            return b"null"
        entries = chat_entries(self._tokenizer, scored, as_ids=self._as_ids)
        return encode({"content": entries, "refusal": None})

    async def whole(self, generation: Generation) -> Response:
        """One JSON object."""
        try:
            if not await generation.collect():
                return Response(status_code=499)  # nobody reads it
            choices = [self._choice(choice) for choice in generation.choices]
        finally:
            generation.close()
        body = {
            "id": self._id,
            "object": "chat.completion",
            **self._fields,
            "system_fingerprint": self._fingerprint,
            "choices": choices,
            "usage": usage_fields(generation.usage()),
            **self.extras.of_prompt(generation.choices[0]),
        }
        return Response(encode(body), media_type="application/json")

    def _choice(self, choice: Choice) -> dict[str, Any]:
        scored = [item for delta in choice.parts for item in shown(delta)]
        return {
            "index": choice.index,
            "message": self._message(
                joined(part for delta in choice.parts for part in delta.spoken())
            ),
            "logprobs": msgspec.Raw(self._scored(scored)),
            "finish_reason": _finish(choice, choice.reply.finish),
            **self.extras.of_whole(choice),
        }

    def _message(self, blocks: Sequence[Block]) -> dict[str, Any]:
        text = "".join(block.text for block in blocks if isinstance(block, Text))
        calls = [_call_fields(block) for block in blocks if isinstance(block, Call)]
        reasoning = "".join(block.text for block in blocks if isinstance(block, Reasoning))
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        if reasoning and self._reasoning:
            message |= _reasoning_fields(reasoning)
        if calls:
            message["content"] = text or None
            message["tool_calls"] = calls
        return message

    def _part(self, part: Part) -> bytes:
        """A delta that says it; nothing for what OpenAI has no word for, and for reasoning that is not wanted."""
        if isinstance(part, Text):
            return encode({"content": part.text})
        if isinstance(part, Reasoning):
            return encode(_reasoning_fields(part.text)) if self._reasoning else b""
        if isinstance(part, CallStart):
            named = {"index": part.index, **_call_fields(Call(part.id, part.name, ""))}
            return encode({"tool_calls": [named]})
        if isinstance(part, CallArguments):
            arguments = {"index": part.index, "function": {"arguments": part.text}}
            return encode({"tool_calls": [arguments]})
        return b""


def _reasoning_fields(text: str) -> dict[str, str]:
    """By both of the names that clients look for."""
    return {"reasoning_content": text, "reasoning": text}


def _finish(choice: Choice, finish: FinishReason | None) -> str | None:
    if finish is FinishReason.STOP and choice.called:
        return "tool_calls"
    return None if finish is None else finish.value


def _call_fields(call: Call) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}
