"""Ollama's API on the wire: lines, reasons, durations, options, contexts, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

MESSAGES: Any = [{"role": "user", "content": "Hello"}]
FIXED = {"temperature": 0, "num_predict": 8}
COUNTS = ("prompt_eval_count", "eval_count")
DURATIONS = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")


def lines(server: Any, path: str, body: Any) -> list[Any]:
    """The objects of an answer that is streamed, as it is unless asked otherwise."""
    named = {"content-type": "application/json"}
    status, headers, answer = server.raw("POST", path, json.dumps(body).encode(), named)
    assert status == 200, answer
    assert headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.decode().splitlines()]


def chat(server: Any, **fields: Any) -> tuple[int, Any]:
    body = {"model": "tiny", "messages": MESSAGES, "stream": False, "options": FIXED, **fields}
    status, answer = server.post("/api/chat", body)
    return status, answer


def generate(server: Any, **fields: Any) -> Any:
    body = {"model": "tiny", "prompt": "Hello", "stream": False, "options": FIXED, **fields}
    status, answer = server.post("/api/generate", body)
    assert status == 200, answer
    return answer


def check_end(end: Any) -> None:
    assert end["done"] is True and end["done_reason"] == "length"
    assert end["eval_count"] == 8 and end["prompt_eval_count"] > 0
    assert all(isinstance(end[name], int) and end[name] >= 0 for name in DURATIONS)
    parts = sum(end[name] for name in DURATIONS[1:])
    assert 0 < parts <= end["total_duration"]


def test_a_chat_is_streamed_in_lines_unless_it_says_otherwise(server: Any) -> None:
    whole = chat(server)[1]
    check_end(whole)
    assert whole["message"]["role"] == "assistant" and whole["model"] == "tiny"
    found = lines(server, "/api/chat", {"model": "tiny", "messages": MESSAGES, "options": FIXED})
    assert [line["done"] for line in found] == [False] * (len(found) - 1) + [True]
    assert all("done_reason" not in line for line in found[:-1])
    assert all(set(line) >= {"model", "created_at", "message"} for line in found)
    text = "".join(line["message"]["content"] for line in found)
    assert text == whole["message"]["content"] and text
    assert found[-1]["message"] == {"role": "assistant", "content": ""}
    check_end(found[-1])


def test_a_context_carries_an_exchange_on(server: Any) -> None:
    first = generate(server)
    check_end(first)
    assert len(first["context"]) == first["prompt_eval_count"] + 8
    again = generate(server, prompt="More", context=first["context"])
    alone = generate(server, prompt="More")
    added = again["prompt_eval_count"] - alone["prompt_eval_count"]
    assert added == len(first["context"])
    assert again["context"][: len(first["context"])] == first["context"]
    streamed = lines(server, "/api/generate", {"prompt": "Hello", "options": FIXED})
    assert streamed[-1]["context"] == first["context"]
    assert "".join(line["response"] for line in streamed) == first["response"]


def test_raw_is_the_prompt_alone(server: Any) -> None:
    raw = generate(server, raw=True, prompt="one two")
    status, tokens = server.post("/tokenize", {"prompt": "one two"})
    assert status == 200 and raw["prompt_eval_count"] == tokens["count"]
    assert "context" not in raw
    body = {"prompt": "one two", "max_tokens": 8, "temperature": 0}
    assert server.post("/v1/completions", body)[1]["choices"][0]["text"] == raw["response"]


def test_an_empty_ask_says_that_the_model_is_loaded(server: Any) -> None:
    for path, body in (("/api/chat", {"messages": []}), ("/api/generate", {"keep_alive": "5m"})):
        status, answer = server.post(path, {**body, "stream": False})
        assert status == 200 and answer["done"] and answer["done_reason"] == "load"
        assert lines(server, path, body)[0]["done_reason"] == "load"


def test_names_may_have_a_tag(server: Any) -> None:
    for name in ("tiny", "tiny:latest", "alias"):
        assert chat(server, model=name)[1]["model"] == name
    for name in ("other", "tiny:7b"):
        status, answer = chat(server, model=name)
        assert status == 404 and name in answer["error"]


def test_options_shape_the_reply(server: Any) -> None:
    seeded = {"seed": 4, "temperature": 1.0, "num_predict": 12}
    texts = [chat(server, options=seeded)[1]["message"]["content"] for _ in range(2)]
    assert texts[0] == texts[1]
    stop = texts[0][3:5]
    for given in (stop, [stop]):
        answer = chat(server, options={**seeded, "stop": given})[1]
        assert answer["message"]["content"] == texts[0][: texts[0].index(stop)]
        assert answer["done_reason"] == "stop"
    loading = {"num_ctx": 2048, "num_thread": 2, "use_mmap": True, "num_gpu": 0, "num_batch": 64}
    assert chat(server, options={**FIXED, **loading})[0] == 200


def test_logprobs(server: Any) -> None:
    plain = chat(server)[1]
    answer = chat(server, logprobs=True, top_logprobs=2)[1]
    assert len(answer["logprobs"]) == 8 and "logprobs" not in plain
    for entry in answer["logprobs"]:
        assert entry["logprob"] <= 0 and len(entry["top_logprobs"]) == 2
    body = {"messages": MESSAGES, "options": FIXED, "logprobs": True}
    streamed = [e for line in lines(server, "/api/chat", body) for e in line.get("logprobs", ())]
    assert [e["token"] for e in streamed] == [e["token"] for e in answer["logprobs"]]
    assert all("top_logprobs" not in entry for entry in streamed)


def test_the_catalogue(server: Any) -> None:
    tags = json.loads(server.raw("GET", "/api/tags")[2])["models"]
    assert [model["name"] for model in tags] == ["tiny:latest", "alias:latest"]
    assert json.loads(server.raw("GET", "/api/ps")[2])["models"][0]["context_length"] == 4096
    assert json.loads(server.raw("GET", "/api/version")[2])["version"]
    status, shown = server.post("/api/show", {"model": "tiny:latest"})
    assert status == 200 and "completion" in shown["capabilities"]
    assert "tools" in shown["capabilities"] and "<|im_start|>" in shown["template"]
    assert server.post("/api/show", {"name": "other"})[0] == 404
    assert server.raw("GET", "/")[2] == b"Ollama is running"
    assert server.raw("HEAD", "/")[0] == 200


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("chat", {"options": {"num_ctx": 1_000_000}}, "num_ctx"),
    ("chat", {"options": {"num_predict": -3}}, "num_predict"),
    ("chat", {"options": {"temperature": 9}}, "temperature"),
    ("chat", {"options": {"tfs_z": 0.5}}, "tfs_z"),
    ("chat", {"options": {"top_k": "x"}}, "options.top_k"),
    ("chat", {"think": True}, "think"),
    ("chat", {"think": "hard"}, "think"),
    ("chat", {"think": "low"}, "think low"),
    ("chat", {"top_logprobs": 30, "logprobs": True}, "top_logprobs"),
    ("chat", {"messages": [{"role": "developer", "content": "x"}]}, "messages[0].role"),
    ("chat", {"messages": [{"role": "user", "images": ["abc"]}]}, "messages[0].images"),
    ("chat", {"tools": [{"type": "x", "function": {"name": "f"}}]}, "tools[0].type"),
    ("generate", {"template": "x"}, "template"),
    ("generate", {"images": ["x"]}, "images"),
    ("generate", {"suffix": "x"}, "suffix"),
    ("generate", {"raw": True, "context": [1]}, "context"),
    ("generate", {"context": [-1]}, "-1"),
    ("generate", {"context": [1] * 5000}, "context"),
]


@pytest.mark.parametrize("path, fields, named", REFUSED, ids=[each[2] for each in REFUSED])
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_refused_is_named(
    server: Any, path: str, fields: dict[str, Any], named: str, stream: bool
) -> None:
    body = {"model": "tiny", "messages": MESSAGES, "prompt": "x", "stream": stream, **fields}
    status, answer = server.post(f"/api/{path}", body)
    assert status == 400 and named in answer["error"]


def test_the_content_type_may_be_left_out_by_programs_alone(server: Any) -> None:
    data = json.dumps({"messages": MESSAGES, "options": FIXED}).encode()
    form = {"content-type": "application/x-www-form-urlencoded"}  # what curl sends
    assert server.raw("POST", "/api/chat", data)[0] == 200
    assert server.raw("POST", "/api/chat", data, form)[0] == 200
    assert server.raw("POST", "/api/chat", data, {**form, "origin": "http://x"})[0] == 415
    assert server.raw("POST", "/api/chat", data, {"content-type": "text/plain"})[0] == 415
    assert server.raw("POST", "/api/chat", data, {"origin": "http://x.example"})[0] == 415


def test_errors_have_ollamas_form(server: Any, locked: Any) -> None:
    assert isinstance(server.post("/api/chat", b"{")[1]["error"], str)
    status, answer = chat(locked)
    assert status == 401 and isinstance(answer["error"], str)
    assert locked.post("/api/chat", {"messages": []}, authorization="Bearer secret-key")[0] == 200
