"""POST /v1/chat/completions."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dovetail.errors import InvalidParameter, UnsupportedParameter
from dovetail.request import FinishReason
from dovetail.text.reply import Delta, Scored
from dovetail.text.tools import Call, ToolParser, tag_ids, writes_calls

from .asking import (
    check_free_form,
    refuse_unsupported,
    sampling_of_chat,
    template_variables,
    wants_usage,
)
from .generation import Choice, Generation
from .limits import read_json
from .logprobs import chat_entries
from .messages import plain_messages, plain_tools
from .schema import ChatRequest
from .served import Served, fresh_id, off_loop
from .sse import DONE, Chunks, begin, encode

decoder = msgspec.json.Decoder(ChatRequest)


async def chat(request: Request) -> Response:
    """Answer a chat, whole or streamed."""
    served: Served = request.app.state.served
    asked = await read_json(request, decoder, max_bytes=served.max_body_bytes)
    model = served.name(asked.model)
    refuse_unsupported(asked)
    check_free_form(asked)
    tools = _tools(asked, served)
    params = sampling_of_chat(asked, served.text)
    prompt = await _prompt(asked, tools, served, request.state.size)
    answer_id = fresh_id("chatcmpl")
    generation = await Generation.start(
        served,
        [prompt],
        params,
        request_id=answer_id,
        priority=asked.priority or 0,
        salt=asked.cache_salt or "",
        keep=tag_ids(served.text.tokenizer) if tools else (),
    )
    generation.watch(request.receive)
    answer = ChatAnswer(asked, model, answer_id, served, bool(tools))
    if asked.stream:
        return await begin(generation, answer.stream(generation))
    return await answer.whole(generation)


def _tools(asked: ChatRequest, served: Served) -> list[dict[str, Any]]:
    """The tools to offer to the model; raises if it cannot be asked as the request says."""
    tools = plain_tools(asked.tools)
    choice = asked.tool_choice
    if choice not in (None, "none", "auto"):
        if choice == "required" or isinstance(choice, dict):
            raise UnsupportedParameter(
                'tool_choice can be "auto" or "none"; a call cannot be forced', param="tool_choice"
            )
        raise InvalidParameter(
            f'tool_choice must be "auto" or "none", not {str(choice)[:100]!r}', param="tool_choice"
        )
    if choice == "none" or not tools:
        if choice == "auto" and not tools:
            raise InvalidParameter(
                "tool_choice is allowed only together with tools", param="tool_choice"
            )
        return []
    template = served.text.template
    if template is not None and not writes_calls(template):
        raise UnsupportedParameter(
            f"the chat template of {served.names[0]} has no tool calls in a form that is read here; leave tools out",
            param="tools",
        )
    return tools


async def _prompt(asked: ChatRequest, tools: Sequence[Any], served: Served, size: int) -> list[int]:
    """Ids of the rendered chat; size: bytes of the request."""
    text = served.text
    if asked.documents and text.template is not None and not text.template.takes_documents:
        raise UnsupportedParameter(
            f"the chat template of {served.names[0]} takes no documents; put them into a message",
            param="documents",
        )
    continued = bool(asked.continue_final_message)
    opened = asked.add_generation_prompt
    variables = template_variables(asked.chat_template_kwargs)

    def tokens() -> list[int]:
        prompt = text.render(
            plain_messages(asked.messages),
            tools=tools,
            documents=asked.documents,
            add_generation_prompt=not continued if opened is None else opened,
            continue_final_message=continued,
            **variables,
        )
        special = bool(asked.add_special_tokens)
        return text.encode(prompt, add_special_tokens=special, param="messages")

    return await off_loop(size, tokens)


class ChatAnswer:
    """Writes the answer to one request."""

    def __init__(
        self, asked: ChatRequest, model: str, answer_id: str, served: Served, tools: bool
    ) -> None:
        self._tokenizer = served.text.tokenizer
        self._logprobs = bool(asked.logprobs)
        self._tools = tools
        self._parallel = asked.parallel_tool_calls is not False
        self._parsers: dict[int, ToolParser] = {}
        self._fields: dict[str, Any] = {"created": int(time.time()), "model": model}
        self._id = answer_id
        self._chunks = Chunks(
            chunk_id=answer_id,
            kind="chat.completion.chunk",
            usage=wants_usage(asked),
            **self._fields,
        )

    async def stream(self, generation: Generation) -> AsyncIterator[bytes]:
        """Events: the role first, the end of each choice once, usage if asked for, [DONE]."""
        async for choice, delta in generation.events():
            event = self._event(choice, delta)
            if event:
                yield event
        if not generation.gone:
            yield self._chunks.usage(generation.usage()) + DONE

    def _event(self, choice: Choice, delta: Delta) -> bytes:
        index = choice.index
        text, finish, scored = delta.text, _finish(delta.finish), _shown(delta)
        calls: Sequence[tuple[int, Call]] = ()
        out: list[bytes] = []
        if not choice.opened:
            choice.opened = True
            out.append(self._chunk(index, b'{"role":"assistant","content":""}'))
        if self._tools:
            text, calls, finish = self._parsed(index, delta)
        if text or scored:
            content = b'{"content":' + encode(text) + b"}"
            out.append(self._chunk(index, content, self._scored(scored)))
        out += [self._chunk(index, part) for call in calls for part in _call_deltas(*call)]
        if finish is not None:
            out.append(self._chunk(index, b"{}", finish=finish))
        return b"".join(out)

    def _chunk(
        self, index: int, delta: bytes, logprobs: bytes = b"null", finish: str | None = None
    ) -> bytes:
        start = self._chunks.start(index)
        return b"".join(
            (start, b'"delta":', delta, b',"logprobs":', logprobs, self._chunks.end(finish))
        )

    def _scored(self, scored: Sequence[Scored]) -> bytes:
        if not self._logprobs:
            return b"null"
        return encode({"content": chat_entries(self._tokenizer, scored), "refusal": None})

    def _parsed(
        self, index: int, delta: Delta
    ) -> tuple[str, Sequence[tuple[int, Call]], str | None]:
        """Text, numbered calls and the reason of the end, where tools may be called."""
        parser = self._parsers.get(index)
        if parser is None:
            parser = self._parsers[index] = ToolParser(parallel=self._parallel)
        number = parser.num_calls
        found = parser.push(delta.text)
        text, calls = found.text, found.calls
        finish = _finish(delta.finish)
        if finish is not None:
            rest = parser.flush()
            text, calls = text + rest.text, calls + rest.calls
            if finish == "stop" and parser.num_calls:
                finish = "tool_calls"
        return text, list(enumerate(calls, start=number)), finish

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
            "choices": choices,
            "usage": generation.usage(),
        }
        return Response(encode(body), media_type="application/json")

    def _choice(self, choice: Choice) -> dict[str, Any]:
        whole = Delta("".join(part.text for part in choice.parts), finish=choice.reply.finish)
        scored = [item for part in choice.parts for item in _shown(part)]
        text, finish = whole.text, _finish(whole.finish)
        calls: Sequence[tuple[int, Call]] = ()
        if self._tools:
            text, calls, finish = self._parsed(choice.index, whole)
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        if calls:
            message["content"] = text or None
            message["tool_calls"] = [_call_fields(call) for _, call in calls]
        logprobs = msgspec.Raw(self._scored(scored))
        return {
            "index": choice.index,
            "message": message,
            "logprobs": logprobs,
            "finish_reason": finish,
        }


def _finish(finish: FinishReason | None) -> str | None:
    return None if finish is None else finish.value


def _shown(delta: Delta) -> Sequence[Scored]:
    """The scored tokens but the one that ended the reply without being part of it."""
    scored = delta.scored
    if scored and isinstance(delta.stopped, int) and scored[-1].start == scored[-1].end:
        return scored[:-1]
    return scored


def _call_fields(call: Call) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _call_deltas(index: int, call: Call) -> tuple[bytes, bytes]:
    """A call in two deltas: id and name once, then the arguments."""
    named = {**_call_fields(call), "function": {"name": call.name, "arguments": ""}}
    arguments = {"index": index, "function": {"arguments": call.arguments}}
    return encode({"tool_calls": [{"index": index, **named}]}), encode({"tool_calls": [arguments]})
