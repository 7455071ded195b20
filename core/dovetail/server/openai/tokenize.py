"""POST /tokenize and /detokenize, in vLLM's shapes."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dovetail.errors import InvalidParameter
from dovetail.sampling import check_int
from dovetail.server.ask import template_variables
from dovetail.server.limits import check_count, read_json
from dovetail.server.served import Served, off_loop
from dovetail.server.sse import encode
from dovetail.text.model import TextModel

from .asking import check_conversation
from .messages import plain_messages, plain_tools
from .schema import DetokenizeRequest, TokenizeRequest

tokenize_decoder = msgspec.json.Decoder(TokenizeRequest)
detokenize_decoder = msgspec.json.Decoder(DetokenizeRequest)


async def tokenize(request: Request) -> Response:
    """Token ids of a prompt, or of messages as the model's template renders them."""
    served: Served = request.app.state.served
    asked = await read_json(request, tokenize_decoder, max_bytes=served.max_body_bytes)
    served.name(asked.model)
    if (asked.prompt is None) == (asked.messages is None):
        raise InvalidParameter("give either prompt or messages", param="prompt")
    check_conversation(asked.messages, asked.tools)
    body = await off_loop(request.state.size, lambda: _tokenized(asked, served.text))
    return Response(body, media_type="application/json")


def _tokenized(asked: TokenizeRequest, model: TextModel) -> bytes:
    special = asked.add_special_tokens
    if asked.prompt is not None:
        ids = model.encode(asked.prompt, add_special_tokens=special is not False)
    else:
        text = _rendered(asked, model)
        ids = model.encode(text, add_special_tokens=bool(special), param="messages")
    names = [model.tokenizer.name_of(i) for i in ids] if asked.return_token_strs else None
    return encode(
        {
            "count": len(ids),
            "max_model_len": model.max_model_len,
            "tokens": ids,
            "token_strs": names,
        }
    )


def _rendered(asked: TokenizeRequest, model: TextModel) -> str:
    continued = bool(asked.continue_final_message)
    opened = asked.add_generation_prompt
    return model.render(
        plain_messages(asked.messages),
        tools=plain_tools(asked.tools),
        add_generation_prompt=not continued if opened is None else opened,
        continue_final_message=continued,
        **template_variables(asked.chat_template_kwargs),
    )


async def detokenize(request: Request) -> Response:
    """Text of token ids."""
    served: Served = request.app.state.served
    asked = await read_json(request, detokenize_decoder, max_bytes=served.max_body_bytes)
    served.name(asked.model)
    check_count("tokens", asked.tokens, served.text.max_model_len)
    body = await off_loop(request.state.size, lambda: _detokenized(asked.tokens, served.text))
    return Response(body, media_type="application/json")


def _detokenized(tokens: list[int], model: TextModel) -> bytes:
    for token in (min(tokens, default=0), max(tokens, default=0)):
        check_int("tokens", token, 0, model.vocab_size - 1)
    return encode({"prompt": model.tokenizer.decode(tokens, skip_special_tokens=False)})
