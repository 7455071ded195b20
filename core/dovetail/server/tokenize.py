"""POST /tokenize and /detokenize, in vLLM's shapes."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dovetail.errors import InvalidParameter
from dovetail.sampling import check_int

from .asking import template_variables
from .limits import check_nesting, read_json
from .messages import plain_messages, plain_tools
from .schema import DetokenizeRequest, TokenizeRequest
from .served import Served, off_loop
from .sse import encode

tokenize_decoder = msgspec.json.Decoder(TokenizeRequest)
detokenize_decoder = msgspec.json.Decoder(DetokenizeRequest)


async def tokenize(request: Request) -> Response:
    """Token ids of a prompt, or of messages as the model's template renders them."""
    served: Served = request.app.state.served
    asked = await read_json(request, tokenize_decoder, max_bytes=served.max_body_bytes)
    served.name(asked.model)
    if (asked.prompt is None) == (asked.messages is None):
        raise InvalidParameter("give either prompt or messages", param="prompt")
    special = asked.add_special_tokens
    if asked.prompt is not None:
        text = asked.prompt
        special = special is not False
    else:
        text, special = _rendered(asked, served), bool(special)
    tokenizer = served.text.tokenizer
    ids = await off_loop(len(text), lambda: tokenizer.encode(text, add_special_tokens=special))
    body = {
        "count": len(ids),
        "max_model_len": served.text.max_model_len,
        "tokens": ids,
        "token_strs": [tokenizer.name_of(i) for i in ids] if asked.return_token_strs else None,
    }
    return Response(encode(body), media_type="application/json")


def _rendered(asked: TokenizeRequest, served: Served) -> str:
    for tool in asked.tools or ():
        check_nesting("tools", tool.function.parameters)
    continued = bool(asked.continue_final_message)
    opened = asked.add_generation_prompt
    return served.text.render(
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
    for token in asked.tokens:
        check_int("tokens", token, 0, served.text.vocab_size - 1)
    text = served.text.tokenizer.decode(asked.tokens, skip_special_tokens=False)
    return Response(encode({"prompt": text}), media_type="application/json")
