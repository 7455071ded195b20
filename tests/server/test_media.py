"""Requests that bring pictures, sounds, files or tensors, or the address of one: refused by name, and nothing is fetched."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import Running

BOMB = "iVBORw0KGgoAAAANSUhEUgAA//8AAP//CAIAAADAQEBA"  # the head of a picture of 65535 x 65535
DATA = f"data:image/png;base64,{BOMB}"
CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"


def chat(kind: str, **part: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": kind, **part}]}]}


def block(source: dict[str, Any], kind: str = "image") -> dict[str, Any]:
    return chat(kind, source=source) | {"model": "tiny", "max_tokens": 3}


def item(kind: str, **part: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": [{"type": kind, **part}]}]}


# path and body, URL in the place of the address to fetch, and what is named
ADDRESSES: list[tuple[str, Any, str]] = [
    (CHAT, chat("image_url", image_url={"url": "URL"}), "image_url"),
    (CHAT, chat("video_url", video_url={"url": "URL"}), "video_url"),
    (CHAT, chat("file", file={"file_data": "URL"}), "file"),
    (RESPONSES, item("input_image", image_url="URL"), "input_image"),
    (RESPONSES, item("input_file", file_url="URL"), "input_file"),
    (MESSAGES, block({"type": "url", "url": "URL"}), "image"),
    (MESSAGES, block({"type": "url", "url": "URL"}, "document"), "document"),
    ("/api/chat", {"model": "tiny", "messages": [{"role": "user", "images": ["URL"]}]}, "images"),
    ("/api/generate", {"model": "tiny", "prompt": "x", "images": ["URL"]}, "images"),
]
MEDIA: list[tuple[str, Any, str]] = [
    (CHAT, chat("image_url", image_url={"url": DATA}), "image_url"),
    (CHAT, chat("input_audio", input_audio={"data": BOMB, "format": "wav"}), "input_audio"),
    (RESPONSES, item("input_image", image_url=DATA), "input_image"),
    (MESSAGES, block({"type": "base64", "media_type": "image/png", "data": BOMB}), "image"),
    ("/api/chat", {"model": "tiny", "messages": [{"role": "user", "images": [BOMB]}]}, "images"),
    ("/api/generate", {"model": "tiny", "prompt": "x", "images": [BOMB]}, "images"),
]
TENSOR = "gAJjdG9yY2guX3V0aWxz"  # how a pickled tensor begins
TENSORS: list[tuple[str, Any, str]] = [
    ("/v1/completions", {"prompt_embeds": TENSOR}, "prompt_embeds"),
    ("/v1/completions", {"prompt": "x", "prompt_embeds": [TENSOR]}, "prompt_embeds"),
    (CHAT, {**chat("text", text="x"), "prompt_embeds": TENSOR}, "prompt_embeds"),
    (CHAT, chat("prompt_embeds", prompt_embeds=TENSOR), "prompt_embeds"),
    (CHAT, chat("image_embeds", image_embeds=TENSOR), "image_embeds"),
]


def refused(server: Running, path: str, body: Any, name: str) -> None:
    """With 400 and the name of what is not taken, and without a word of what it was."""
    status, answer = server.post(path, body)
    told = json.dumps(answer)
    assert status == 400 and name in told
    assert "not supported" in told or "text only" in told or "it can be one of" in told, told
    assert BOMB not in told and TENSOR not in told


@pytest.fixture
def elsewhere() -> Iterator[socket.socket]:
    """A server that only this machine reaches, and that nobody is to ask."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


@pytest.mark.defends(
    "addresses to fetch",
    "nothing is fetched for a request; whatever brings an address is refused by name",
    without=(
        "dovetail.server.openai.messages",
        'if part.type not in ("text", "refusal"):',
        "if False:",
    ),
)
@pytest.mark.parametrize(("path", "body", "name"), ADDRESSES)
def test_no_address_is_fetched(
    server: Running, elsewhere: socket.socket, path: str, body: Any, name: str
) -> None:
    url = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/secret"
    refused(server, path, json.loads(json.dumps(body).replace("URL", url)), name)
    with pytest.raises(BlockingIOError):
        elsewhere.accept()


@pytest.mark.defends(
    "media",
    "models take text: media are refused by name before anything is decoded",
    without=("dovetail.server.ollama.messages", "    if message.images:\n", "    if False:\n"),
)
@pytest.mark.parametrize(("path", "body", "name"), MEDIA)
def test_no_medium_is_decoded(server: Running, path: str, body: Any, name: str) -> None:
    refused(server, path, body, name)


@pytest.mark.defends(
    "tensors from clients",
    "tensors are refused by name before anything is decoded",
    without=("dovetail.server.openai.asking", '    "prompt_embeds": (),\n', ""),
)
@pytest.mark.parametrize(("path", "body", "name"), TENSORS)
def test_no_tensor_is_read(server: Running, path: str, body: Any, name: str) -> None:
    refused(server, path, body, name)
