"""TGI's, KServe's and llama-server's endpoints on the wire, and what all dialects have in common."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from dovetail.server.infill import SPELLINGS
from dovetail.server.llama.asking import completion_of, infill_of
from dovetail.server.llama.schema import CompletionRequest, ExtraFile, InfillRequest
from dovetail.server.ollama.asking import sampling_of as ollama_sampling
from dovetail.server.ollama.schema import ChatRequest
from dovetail.text.model import TextModel
from dovetail.text.tokenizer import Tokenizer as TextTokenizer
from huggingface_hub import InferenceClient
from huggingface_hub.errors import ValidationError
from tokenizers import Tokenizer

from tests.waiting import until

GREEDY = {"prompt": "one two", "max_tokens": 12, "temperature": 0}


def plain(server: Any, **fields: Any) -> Any:
    """What OpenAI's endpoint says: all dialects ask the same model."""
    return server.post("/v1/completions", {**GREEDY, **fields})[1]["choices"][0]


def events(server: Any, path: str, body: Any) -> list[Any]:
    """Data of a streamed answer's events."""
    named = {"content-type": "application/json"}
    status, headers, answer = server.raw("POST", path, json.dumps(body).encode(), named)
    assert status == 200, answer
    assert headers["content-type"].startswith("text/event-stream")
    found = answer.decode().split("\n\n")[:-1]
    return [json.loads(event.removeprefix("data:")) for event in found]


def tgi(server: Any, **parameters: Any) -> tuple[int, Any]:
    body = {"inputs": "one two", "parameters": {"max_new_tokens": 12, **parameters}}
    status, answer = server.post("/generate", body)
    return status, answer


def test_tgi_says_what_every_token_was(server: Any) -> None:
    text = plain(server)["text"]
    assert tgi(server)[1] == {"generated_text": text}
    whole = tgi(server, details=True, decoder_input_details=True, top_n_tokens=2)[1]
    details = whole["details"]
    assert details["finish_reason"] == "length" and details["generated_tokens"] == 12
    assert "".join(token["text"] for token in details["tokens"]) == text == whole["generated_text"]
    assert [len(tops) for tops in details["top_tokens"]] == [2] * 12
    assert details["prefill"][0]["logprob"] is None
    assert all(token["logprob"] <= 0 for token in details["prefill"][1:])
    body = {"inputs": "one two", "parameters": {"max_new_tokens": 12}}
    found = events(server, "/generate_stream", body)
    assert [event["index"] for event in found] == list(range(1, 13))
    assert [event["token"]["id"] for event in found] == [t["id"] for t in details["tokens"]]
    assert all(e["generated_text"] is None and e["details"] is None for e in found[:-1])
    assert found[-1]["generated_text"] == text
    assert found[-1]["details"]["input_length"] == len(details["prefill"])


def test_tgi_stops_truncates_and_takes_the_best(server: Any) -> None:
    text = plain(server)["text"]
    stop = text[4:6]
    ended = tgi(server, stop=[stop], details=True)[1]
    assert ended["generated_text"] == text[: text.index(stop) + len(stop)]
    assert ended["details"]["finish_reason"] == "stop_sequence"
    full = tgi(server, return_full_text=True)[1]["generated_text"]
    assert full == "one two" + text
    cut = tgi(server, truncate=1, details=True, decoder_input_details=True)[1]["details"]
    assert len(cut["prefill"]) == 1
    several = tgi(server, best_of=3, do_sample=True, details=True, seed=1)[1]["details"]
    assert len(several["best_of_sequences"]) == 2

    def mean(sequence: Any) -> float:
        return sum(t["logprob"] for t in sequence["tokens"]) / len(sequence["tokens"])

    assert mean(several) == max(map(mean, [several, *several["best_of_sequences"]]))


@pytest.mark.parametrize(
    "fields",
    [
        {"watermark": True},
        {"adapter_id": "x"},
        {"best_of": 2},
        {"max_new_tokens": 0},
        {"temperature": 0},
        {"truncate": 0},
        {"top_n_tokens": 9},
        {"decoder_input_details": True},
    ],
    ids=str,
)
def test_tgi_names_what_it_refuses(server: Any, fields: dict[str, Any]) -> None:
    status, answer = tgi(server, **fields)
    assert status == 422 and answer["error_type"] == "validation"
    assert next(iter(fields)) in answer["error"]


def test_tgi_by_its_own_client(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # the hub's, not ours
    text = plain(server)["text"]
    client = InferenceClient(server.url)
    assert client.text_generation("one two", max_new_tokens=12) == text
    assert "".join(client.text_generation("one two", max_new_tokens=12, stream=True)) == text
    details = client.text_generation("one two", max_new_tokens=12, details=True)
    assert details.details is not None and len(details.details.tokens) == 12
    with pytest.raises(ValidationError):
        client.text_generation("one two", max_new_tokens=0)
    info = json.loads(server.raw("GET", "/info")[2])
    assert info["model_id"] == "tiny" and info["max_total_tokens"] == 4096


@pytest.mark.parametrize("version", ["", "/versions/1"])
def test_kserve_generates(server: Any, version: str) -> None:
    text = plain(server)["text"]
    path = f"/v2/models/tiny{version}"
    body = {"id": "a", "text_input": "one two", "parameters": {"temperature": 0, "max_tokens": 12}}
    status, answer = server.post(f"{path}/generate", body)
    named = {"id": "a", "model_name": "tiny", "model_version": "1"}
    assert status == 200 and answer == {**named, "text_output": text}
    found = events(server, f"{path}/generate_stream", body)
    assert "".join(event["text_output"] for event in found) == text
    assert [event["done"] for event in found] == [False] * (len(found) - 1) + [True]
    assert json.loads(server.raw("GET", path)[2])["inputs"][0]["datatype"] == "BYTES"
    assert json.loads(server.raw("GET", f"{path}/ready")[2]) == {"name": "tiny", "ready": True}


def test_kserve_health_and_errors(server: Any) -> None:
    assert json.loads(server.raw("GET", "/v2")[2])["name"] == "dovetail"
    for path in ("live", "ready"):
        assert json.loads(server.raw("GET", f"/v2/health/{path}")[2]) == {path: True}
    for path in ("/v2/models/other", "/v2/models/tiny/versions/2/ready"):
        status, _, answer = server.raw("GET", path)
        assert status == 404 and isinstance(json.loads(answer)["error"], str)
    for parameters in ({"max_tokens": 0}, {"best_of": 2}, {"temperature": -1}):
        body = {"text_input": "x", "parameters": parameters}
        status, answer = server.post("/v2/models/tiny/generate", body)
        assert status == 400 and next(iter(parameters)) in answer["error"]


def test_llama_completes(server: Any) -> None:
    text = plain(server)["text"]
    body = {"prompt": "one two", "n_predict": 12, "temperature": 0, "return_tokens": True}
    status, answer = server.post("/completion", body)
    assert status == 200 and answer["content"] == text and answer["stop_type"] == "limit"
    assert answer["tokens_predicted"] == 12 == len(answer["tokens"])
    ids = server.post("/tokenize", {"prompt": "one two"})[1]["tokens"]
    assert server.post("/completion", {**body, "prompt": ids})[1]["content"] == text
    found = events(server, "/completion", {**body, "stream": True})
    assert "".join(event["content"] for event in found) == text
    assert sum((event["tokens"] for event in found), []) == answer["tokens"]
    assert [event["stop"] for event in found] == [False] * (len(found) - 1) + [True]
    ended = server.post("/completion", {**body, "stop": [text[4:6]]})[1]
    assert ended["stop_type"] == "word" and ended["stopping_word"] == text[4:6]


def test_samplers_reach_the_engine_under_every_name(server: Any) -> None:
    text = server.served.text
    named = {"typical_p": 0.5, "repeat_last_n": 7, "frequency_penalty": 0.5, "min_p": 0.1}
    asked = msgspec.convert({"prompt": "x", **named, "xtc_probability": 0.5}, CompletionRequest)
    params = completion_of(asked, text)[1]
    assert params.xtc_probability == 0.5 and params.top_k == 40
    options = msgspec.convert({"options": {**named, "repeat_penalty": 1.5}}, ChatRequest)
    ollama = ollama_sampling(options, text)
    assert ollama.repetition_penalty == 1.5 and ollama.temperature == 0.8
    for found in (params, ollama):
        assert {name: getattr(found, name) for name in named} == named
    flowing = msgspec.convert({"options": {"mirostat": 2, "mirostat_tau": 4}}, ChatRequest)
    assert ollama_sampling(flowing, text).mirostat_tau == 4


def test_llama_bias(server: Any) -> None:
    text = server.served.text
    asked = CompletionRequest(prompt="one", logit_bias=[[40, 5.5], [" two", False], [41, -1]])
    two = text.encode(" two", add_special_tokens=False)
    _, params = completion_of(asked, text)
    assert params.logit_bias == {40: 5.5, 41: -1, **dict.fromkeys(two, -100.0)}
    body = {"prompt": "one two", "n_predict": 4, "temperature": 0}
    for bias in ([[1]], [[True, 1]], [[10_000, 1]], [[1, 1000]], [[1, "x"]]):
        status, answer = server.post("/completion", {**body, "logit_bias": bias})
        assert status == 400 and "logit_bias" in answer["error"]["message"]


def test_llama_tells_template_and_properties(server: Any) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}]}
    status, answer = server.post("/apply-template", body)
    assert status == 200
    assert answer["prompt"] == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    props = json.loads(server.raw("GET", "/props")[2])
    assert props["default_generation_settings"]["n_ctx"] == 4096
    assert props["chat_template_caps"]["supports_tools"] and props["eos_token"] == "<|im_end|>"


def test_a_model_that_cannot_fill_in_says_why(server: Any) -> None:
    status, answer = server.post("/infill", {"input_prefix": "a", "input_suffix": "b"})
    assert status == 400 and "fill-in-the-middle" in answer["error"]["message"]


STREAMS = {
    "/v1/messages": {"messages": [{"role": "user", "content": "x"}], "max_tokens": 4000},
    "/api/chat": {"messages": [{"role": "user", "content": "x"}]},
    "/generate_stream": {"inputs": "x", "parameters": {"max_new_tokens": 4000}},
    "/v2/models/tiny/generate_stream": {"text_input": "x", "parameters": {"max_tokens": 4000}},
    "/completion": {"prompt": "x", "n_predict": 4000},
}


@pytest.mark.parametrize("path", STREAMS)
@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_request(server: Any, path: str, stream: bool) -> None:
    path = path if stream else path.removesuffix("_stream")
    data = json.dumps({**STREAMS.get(path, STREAMS.get(f"{path}_stream", {})), "stream": stream})
    connection = socket.create_connection(("127.0.0.1", server.port))
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    before = server.metric("generation_tokens_total")
    connection.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n{data}".encode())
    until("there are tokens", lambda: server.metric("generation_tokens_total") > before)
    connection.close()
    until("its request has ended", lambda: server.metric("num_requests_running") == 0)


SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["a"],
    "additionalProperties": False,
}
CHAT = [{"role": "user", "content": "x"}]
FORMS: list[tuple[str, dict[str, Any], str]] = [
    (
        "/v1/messages",
        {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}, "max_tokens": 64},
        "content.0.text",
    ),
    ("/api/chat", {"format": SCHEMA, "stream": False}, "message.content"),
    ("/api/generate", {"prompt": "x", "format": SCHEMA, "stream": False}, "response"),
    (
        "/generate",
        {"inputs": "x", "parameters": {"grammar": {"type": "json", "value": SCHEMA}}},
        "generated_text",
    ),
    (
        "/generate",
        {"inputs": "x", "parameters": {"grammar": {"type": "regex", "value": r'\{"a":[0-9]\}'}}},
        "generated_text",
    ),
    ("/completion", {"prompt": "x", "json_schema": SCHEMA}, "content"),
    ("/completion", {"prompt": "x", "grammar": 'root ::= "{\\"a\\":" [0-9] "}"'}, "content"),
]


@pytest.mark.parametrize("path, fields, where", FORMS, ids=[each[0] for each in FORMS])
def test_every_dialect_keeps_to_a_form(
    server: Any, path: str, fields: dict[str, Any], where: str
) -> None:
    status, answer = server.post(path, {"messages": CHAT, **fields})
    assert status == 200, answer
    for name in where.split("."):
        answer = answer[int(name) if name.isdecimal() else name]
    found = json.loads(answer)
    assert list(found) == ["a"] and 0 <= found["a"] <= 9


def test_a_form_that_cannot_be_kept_is_refused(server: Any) -> None:
    bad = {"type": "nonsense"}
    for path, body in (
        ("/api/chat", {"messages": CHAT, "format": "xml"}),
        ("/api/chat", {"messages": CHAT, "format": bad}),
        ("/completion", {"prompt": "x", "json_schema": bad}),
        ("/completion", {"prompt": "x", "grammar": "root ::= ("}),
        ("/v1/messages", {"messages": CHAT, "max_tokens": 1, "output_config": {"format": bad}}),
    ):
        assert server.post(path, body)[0] == 400, path
    form = {"type": "regex", "value": "("}
    assert server.post("/generate", {"inputs": "x", "parameters": {"grammar": form}})[0] == 422


def with_words(text: TextModel, words: tuple[str, ...]) -> TextModel:
    """The model with more special tokens."""
    backend = Tokenizer.from_str(text.tokenizer.backend.to_str())
    backend.add_special_tokens(list(words))
    return replace(text, tokenizer=TextTokenizer(backend), vocab_size=1024)


@pytest.mark.parametrize("words", SPELLINGS, ids=str)
def test_what_is_filled_in_stands_between_prefix_and_suffix(
    server: Any, words: tuple[str, ...]
) -> None:
    text = with_words(server.served.text, (*words, "<|file_sep|>"))
    asked = InfillRequest(
        input_prefix="one ",
        input_suffix=" fox",
        prompt="two",
        input_extra=[ExtraFile(text="dog", filename="a.py")],
    )
    ids, params = infill_of(asked, text)
    before, behind, middle = words
    prompt = f"<|file_sep|>a.py\ndog\n{before}one {behind} fox{middle}two"
    assert text.tokenizer.decode(ids, skip_special_tokens=False) == prompt
    assert set(params.stop_token_ids) == {
        text.tokenizer.id_of(word) for word in (*words, "<|file_sep|>")
    }


MESSAGES = [{"role": "user", "content": "Hello"}]
WRONG: list[tuple[str, Any, str]] = [
    (
        "/api/chat",
        {"messages": MESSAGES, "options": {"repeat_penalty": 5}},
        "options.repeat_penalty is 5",
    ),
    (
        "/api/chat",
        {"messages": MESSAGES, "options": {"temperature": 5}},
        "options.temperature is 5",
    ),
    ("/api/generate", {"prompt": "a", "options": {"stop": ["a"] * 17}}, "options.stop has 17"),
    ("/completion", {"prompt": "a", "repeat_penalty": 5}, "repeat_penalty is 5"),
    ("/generate", {"inputs": "a" * 50_000}, "the prompt"),
    (
        "/v1/messages",
        {"model": "tiny", "messages": MESSAGES, "max_tokens": 5, "stop_sequences": ["a"] * 17},
        "stop_sequences has 17",
    ),
]


@pytest.mark.parametrize(("path", "body", "words"), WRONG)
def test_errors_name_the_dialects_own_fields(server: Any, path: str, body: Any, words: str) -> None:
    status, answer = server.post(path, {"model": "tiny", **body})
    error = answer["error"]
    message = error if isinstance(error, str) else error["message"]
    assert status in (400, 422) and message.startswith(words), message


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/chat"),
        ("DELETE", "/api/delete"),
        ("GET", "/v2/nothing"),
        ("GET", "/v2/models"),
    ],
)
def test_what_is_not_there_is_told_in_ollamas_and_kserves_form(
    server: Any, method: str, path: str
) -> None:
    status, _, answer = server.raw(method, path)
    assert status in (404, 405) and path in json.loads(answer)["error"]


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/batches"])
def test_what_is_not_there_is_told_in_anthropics_form(server: Any, path: str) -> None:
    status, _, answer = server.raw("GET", path)
    assert status in (404, 405) and json.loads(answer)["type"] == "error"
