"""Whatever arrives is answered with a clear 4xx, and the server goes on serving."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from typing import Any

import msgspec
import pytest
from dovetail.server.errors import BodyTooLarge
from dovetail.server.limits import MAX_VALUES, read_json
from dovetail.text.template import ChatTemplate
from starlette.requests import Request

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
JSON = {"content-type": "application/json"}


@pytest.fixture(autouse=True)
def still_serving(server: Any) -> Any:
    yield
    assert server.raw("GET", "/health")[0] == 200


def check(answer: dict[str, Any], param: str | None = None) -> str:
    """OpenAI's body; returns the message."""
    assert set(answer) == {"error"}
    assert set(answer["error"]) == {"message", "type", "param", "code"}
    assert answer["error"]["param"] == param
    assert "Traceback" not in answer["error"]["message"]
    return str(answer["error"]["message"])


@pytest.mark.defends(
    "bodies and slow clients",
    "a body that is not JSON in UTF-8 is answered 400",
    without=(
        "dovetail.server.limits",
        "decoder.decode(body.decode())",
        "decoder.decode(body.decode(errors='replace'))",
    ),
)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"prompt": "x",}',
        b'{"prompt": "x"} trailing',
        b'{"prompt": NaN}',
        b'{"prompt": "\xff\xfe"}',
        b'{"unknown": "\xff"}',
        b'{"prompt": "\\ud800"}',
        b'\xef\xbb\xbf{"prompt": "x"}',
        b'{"else": ' + b"[" * 100_000,
        b'{"unknown": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    ],
)
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, "/v1/responses", "/tokenize", "/detokenize"])
def test_what_is_not_json_is_refused(server: Any, path: str, body: bytes) -> None:
    status, answer = server.post(path, body)
    assert status == 400
    check(answer)


@pytest.mark.parametrize("body", [b"[]", b"3", b"null", b'"text"'])
def test_a_body_that_is_no_object_is_refused(server: Any, body: bytes) -> None:
    status, answer = server.post(COMPLETIONS, body)
    assert status == 400 and "object" in check(answer)


NUMBERS = ("temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty")
COUNTS = ("max_tokens", "n", "top_k", "seed", "min_tokens")
BAD_NUMBERS: list[Any] = ["1", True, [1], {}, -3, 10**400]
BAD_COUNTS: list[Any] = ["1", True, [1], 1.5, 10**30, -(10**30)]
WRONG: list[tuple[str, Any]] = [
    *[(name, value) for name in NUMBERS for value in BAD_NUMBERS],
    *[(name, value) for name in COUNTS for value in BAD_COUNTS],
    ("temperature", 2.5),
    ("top_p", 0),
    ("top_p", 1.01),
    ("max_tokens", -1),
    ("n", 0),
    ("n", 129),
    ("min_tokens", -1),
    ("min_tokens", 100),
    ("logprobs", -1),
    ("logprobs", 21),
    ("logprobs", True),
    ("stop", [""]),
    ("stop", ["x"] * 17),
    ("stop", ["x" * 2000]),
    ("stop", 3),
    ("stop_token_ids", [-1]),
    ("stop_token_ids", [99999]),
    ("logit_bias", {"5": 101}),
    ("logit_bias", {"99999": 1}),
    ("logit_bias", {"x": 1}),
    ("logit_bias", {str(i): 1 for i in range(1025)}),
    ("truncate_prompt_tokens", -2),
    ("truncate_prompt_tokens", 10**9),
    ("best_of", 0),
    ("best_of", True),
    ("return_token_ids", 1),
    ("logit_bias", [1]),
    ("stream", "yes"),
    ("stream_options", {"include_usage": True}),
    ("echo", 1),
    ("priority", 2**40),
    ("cache_salt", "x" * 300),
    ("prompt", 3),
    ("prompt", []),
    ("prompt", ""),
    ("prompt", [[]]),
    ("prompt", [True]),
    ("prompt", [-1]),
    ("prompt", [1.5]),
    ("prompt", [512]),
    ("prompt", [10**30]),
    ("prompt", ["a", 1]),
    ("prompt", [["a"]]),
    ("prompt", None),
    ("prompt", ["a"] * 3000),
]


@pytest.mark.defends(
    "parameters out of bounds",
    "every number has a lowest and a highest value",
    without=(
        "dovetail.sampling",
        "if not math.isfinite(value) or not inside:",
        "if False:",
    ),
)
@pytest.mark.parametrize(("name", "value"), WRONG, ids=lambda value: repr(value)[:24])
def test_a_wrong_value_is_refused_by_name(server: Any, name: str, value: Any) -> None:
    body = {"prompt": "x", "max_tokens": 8, name: value}
    status, answer = server.post(COMPLETIONS, body)
    assert status == 400
    found = answer["error"]["param"].partition("[")[0].partition(".")[0]
    assert found == name
    check(answer, answer["error"]["param"])


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(server: Any, number: str) -> None:
    body = f'{{"prompt": "x", "temperature": {number}}}'.encode()
    status, answer = server.post(COMPLETIONS, body)
    assert status == 400
    check(answer, answer["error"]["param"])


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        (None, "messages"),
        ([], "messages"),
        ("hello", "messages"),
        ([3], "messages[0]"),
        ([{"content": "x"}], "messages[0]"),
        ([{"role": "user"}], "messages[0].content"),
        ([{"role": "king", "content": "x"}], "messages[0].role"),
        ([{"role": "user", "content": 3}], "messages[0].content"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0]"),
    ],
)
def test_wrong_messages_are_refused(server: Any, messages: Any, param: str) -> None:
    status, answer = server.post(CHAT, {"messages": messages})
    assert status == 400
    check(answer, param)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"logprobs": 1}, "logprobs"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"tools": [{"type": "function"}]}, "tools[0]"),
        ({"tools": "x"}, "tools"),
        ({"response_format": "json"}, "response_format"),
    ],
)
def test_wrong_chat_fields_are_refused(server: Any, fields: dict[str, Any], param: str) -> None:
    body = {"messages": [{"role": "user", "content": "x"}], **fields}
    status, answer = server.post(CHAT, body)
    assert status == 400
    check(answer, param)


@pytest.mark.defends(
    "bodies and slow clients",
    "values of free form are bounded in depth and number",
    without=("dovetail.server.limits", "for _ in range(MAX_NESTING):", "for _ in range(1 << 20):"),
)
def test_free_form_fields_are_bounded_in_depth(server: Any) -> None:
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"a": deep}
    tool = {"type": "function", "function": {"name": "f", "parameters": deep}}
    body = {"messages": [{"role": "user", "content": "x"}], "tools": [tool]}
    status, answer = server.post(CHAT, body)
    assert status == 400 and "levels deep" in check(answer, "tools")


@pytest.mark.defends(
    "pages of other sites",
    "a body must be declared as JSON, which a page of another site may only send if it is let",
    without=(
        "dovetail.server.limits",
        'if media_type != "application/json" and not media_type.endswith("+json"):',
        "if False:",
    ),
)
@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_only_json_is_read(server: Any, media_type: str) -> None:
    status, _, data = server.raw(
        "POST", COMPLETIONS, b'{"prompt": "x"}', {"content-type": media_type}
    )
    assert status == 415
    assert "application/json" in check(json.loads(data))


def test_a_large_body_is_refused(server: Any) -> None:
    body = json.dumps({"prompt": "x" * (3 << 19)}).encode()
    status, headers, data = server.raw("POST", COMPLETIONS, body, JSON)
    assert status == 413 and headers["connection"] == "close"
    assert "1048576" in check(json.loads(data))


def test_a_huge_body_is_refused_before_it_is_sent(server: Any) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = f"POST {COMPLETIONS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: {10**15}\r\n\r\n".encode())
        assert b" 413 " in connection.recv(100)


@pytest.mark.defends(
    "bodies and slow clients",
    "a body is counted while it arrives, and refused when it is too large",
    without=("dovetail.server.limits", "if size > max_bytes:", "if False:"),
)
def test_a_large_body_is_refused_while_it_streams(server: Any) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = f"POST {COMPLETIONS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        part = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        for _ in range(24):
            connection.sendall(part)
        connection.sendall(b"0\r\n\r\n")
        assert b" 413 " in connection.recv(100)


def test_routes_that_are_not_there(server: Any) -> None:
    for method, path, expected in (
        ("GET", "/nothing", 404),
        ("POST", "/v1/nothing", 404),
        ("GET", CHAT, 405),
        ("DELETE", "/v1/models", 405),
        ("GET", "/v1/models/nobody", 404),
        ("GET", "/../../etc/passwd", 404),
    ):
        status, _, data = server.raw(method, path)
        assert status == expected
        check(json.loads(data), "model" if path.endswith("nobody") else None)


def test_garbage_instead_of_http(server: Any) -> None:
    for garbage in (b"\x16\x03\x01\x02\x00\x01\xfc\x03\x03", b"GET\r\n\r\n", b"\0" * 5000):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            assert b"Traceback" not in connection.recv(1000)


def test_errors_of_a_stream_before_its_first_token_are_http_errors(server: Any) -> None:
    body = {"prompt": "x", "stream": True, "max_tokens": 5000}
    status, answer = server.post(COMPLETIONS, body)
    assert status == 400 and answer["error"]["code"] == "context_length_exceeded"


MESSAGE = {"role": "user", "content": "x"}
TOOL = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize("path", [CHAT, "/tokenize"])
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": [MESSAGE] * 8193}, "messages"),
        ({"messages": [MESSAGE], "tools": [TOOL] * 1025}, "tools"),
        ({"messages": [{"role": "user", "content": "x" * 900_000}]}, "messages"),
    ],
)
def test_a_chat_that_is_too_much_is_refused(
    server: Any, path: str, fields: dict[str, Any], param: str
) -> None:
    status, answer = server.post(path, fields)
    assert status == 400
    check(answer, param)


@pytest.mark.defends(
    "bodies and slow clients",
    "values of free form are bounded in depth and number",
    without=("dovetail.server.limits", "if count > MAX_ELEMENTS:", "if False:"),
)
def test_free_form_fields_are_bounded_in_number(server: Any) -> None:
    body: dict[str, Any] = {"messages": [MESSAGE], "metadata": {str(i): "" for i in range(17)}}
    status, answer = server.post(CHAT, body)
    assert status == 400 and "17 entries; at most 16" in check(answer, "metadata")
    status, answer = server.post(CHAT, {"messages": [MESSAGE], "metadata": {"a": "x" * 70_000}})
    assert status == 400 and "65536" in check(answer, "metadata")
    status, answer = server.post(CHAT, {"messages": [MESSAGE], "metadata": [1]})
    assert status == 400 and "object" in check(answer, "metadata")
    parameters: dict[str, Any] = {"enum": [0] * 100_001}
    tool: dict[str, Any] = {
        "type": "function",
        "function": {"name": "f", "parameters": parameters},
    }
    status, answer = server.post(CHAT, {"messages": [MESSAGE], "tools": [tool]})
    assert status == 400 and "100000 values" in check(answer, "tools")


@pytest.mark.defends(
    "bodies and slow clients",
    "a text that cannot fit the context is refused before it is taken apart",
    without=("dovetail.text.model", "if len(text) > most:", "if False:"),
)
@pytest.mark.parametrize("path", [COMPLETIONS, "/tokenize"])
def test_a_text_that_cannot_fit_is_refused_unread(
    server: Any, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(server.served.text.tokenizer), "encode", None)
    status, answer = server.post(path, {"prompt": "x" * 900_000})
    assert status == 400 and answer["error"]["code"] == "context_length_exceeded"
    assert "900000 characters" in check(answer, "prompt") and "4096" in check(answer, "prompt")


@pytest.mark.defends(
    "parameters out of bounds",
    "lists have a greatest length",
    without=(
        "dovetail.server.openai.tokenize",
        '    check_count("tokens", asked.tokens, served.text.max_model_len)\n',
        "",
    ),
)
def test_a_long_list_of_ids_is_refused(server: Any) -> None:
    status, answer = server.post("/detokenize", {"tokens": [5] * 4097})
    assert status == 400 and "at most 4096" in check(answer, "tokens")


@pytest.mark.defends(
    "parameters out of bounds",
    "lists have a greatest length",
    without=("dovetail.text.model", "if len(given.get(name) or ()) > most:", "if False:"),
)
def test_stop_token_ids_are_bounded(server: Any) -> None:
    body: dict[str, Any] = {"prompt": "x", "stop_token_ids": [5] * 1025}
    status, answer = server.post(COMPLETIONS, body)
    assert status == 400 and "1024" in check(answer, "stop_token_ids")
    body = {"prompt": "x", "min_tokens": 1, "stop_token_ids": list(range(512))}
    status, answer = server.post(COMPLETIONS, body)
    assert status == 400 and "no token could be drawn" in check(answer, "stop_token_ids")


@pytest.mark.defends(
    "templates from clients",
    "long chats are rendered beside the event loop",
    without=("dovetail.server.served", "return await asyncio.to_thread(work)", "return work()"),
)
def test_a_large_chat_is_rendered_on_a_thread_of_its_own(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []
    render = ChatTemplate.render

    def noted(self: ChatTemplate, *args: Any, **options: Any) -> str:
        threads.append(threading.current_thread())
        return render(self, *args, **options)

    monkeypatch.setattr(ChatTemplate, "render", noted)
    tool = {"type": "function", "function": {"name": "f", "description": "x" * 5000}}
    large = {"messages": [MESSAGE], "tools": [tool]}
    for path in (CHAT, "/tokenize"):
        for body in ({"messages": [MESSAGE]}, {"messages": [MESSAGE] * 300}, large):
            server.post(path, {**body, "max_tokens": 1})
    assert [thread is server._thread for thread in threads] == [True, False, False] * 2


@pytest.mark.defends(
    "bodies and slow clients",
    "a body of very many values is refused before it is decoded",
    without=("dovetail.server.limits", "if values > MAX_VALUES:", "if False:"),
)
@pytest.mark.parametrize("some", [b"1,", b"[[", b'{"'])
def test_too_many_values_are_refused_before_they_are_decoded(some: bytes) -> None:
    """Nothing is decoded, or what is refused would be that this is no JSON; the event loop runs between the parts."""
    part = some * (32 << 10)
    left, turns = [part] * 40, 0

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"type": "http.request", "body": left.pop(), "more_body": bool(left)}

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def ask() -> None:
        headers = [(b"content-type", b"application/json")]
        request = Request({"type": "http", "headers": headers}, receive)
        task = asyncio.create_task(others())
        try:
            with pytest.raises(BodyTooLarge, match="token ids"):
                await read_json(request, msgspec.json.Decoder(), max_bytes=32 << 20)
        finally:
            task.cancel()

    asyncio.run(ask())
    assert turns > MAX_VALUES // len(part) and not left
