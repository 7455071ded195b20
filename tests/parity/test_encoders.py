"""Vectors and scores of encoders against transformers', in f32, for each family, through steps of mixed lengths."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from dovetail import LLM
from dovetail.request import Request
from dovetail.sampling import SamplingParams
from dovetail_sdk.testing import write_tokenizer

PLATFORMS = ["reference", "cpu"] if importlib.util.find_spec("openvino") else ["reference"]
SIZES = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 140,
    "pad_token_id": 1,
    "id2label": {"0": "score"},
    "initializer_range": 0.2,
    "attn_implementation": "eager",
}
FAMILIES = {
    "Bert": {},
    "Roberta": {"type_vocab_size": 1},
    "XLMRoberta": {"hidden_act": "gelu_new"},
    "ModernBert": {"local_attention": 16, "norm_bias": True, "classifier_pooling": "mean"},
    "NomicBert": {},
}
LENGTHS = (1, 2, 40, 7, 130, 33, 90, 5)


def make(directory: Path, family: str, ending: str) -> torch.nn.Module:
    """A random model, saved, with norms and biases that are not their initial ones and zeros."""
    torch.manual_seed(3)
    config = getattr(transformers, f"{family}Config")(**{**SIZES, **FAMILIES[family]})
    model = getattr(transformers, f"{family}{ending}")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(directory)
    write_tokenizer(directory, 320)
    return model


def prompts() -> list[list[int]]:
    rng = np.random.default_rng(1)
    return [rng.integers(2, 320, length).tolist() for length in LENGTHS]


def close(ours: np.ndarray, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
    cosine = (
        (ours * theirs).sum(-1) / np.linalg.norm(ours, axis=-1) / np.linalg.norm(theirs, axis=-1)
    )
    assert cosine.min() >= 0.9999


@pytest.mark.parametrize("family", FAMILIES)
def test_vectors_equal_transformers(family, tmp_path):
    model = make(tmp_path, family, "Model")
    with torch.inference_mode():
        states = [model(torch.tensor([ids])).last_hidden_state[0] for ids in prompts()]
    theirs = torch.stack([state.mean(0) for state in states]).numpy()
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    for platform in PLATFORMS:
        with LLM(str(tmp_path), platform=platform, max_num_batched_tokens=160) as llm:
            close(llm.embed(prompts()), theirs)
            assert llm.engine.stats().total_steps < len(LENGTHS)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "NomicBert"])
def test_scores_equal_transformers(family, tmp_path):
    model = make(tmp_path, family, "ForSequenceClassification")
    kinds = [[0] * (n // 2) + [1] * (n - n // 2) for n in LENGTHS]
    if family != "Bert":
        kinds = [[0] * n for n in LENGTHS]
    theirs = []
    for ids, types in zip(prompts(), kinds, strict=True):
        extra = {"token_type_ids": torch.tensor([types])} if family == "Bert" else {}
        with torch.inference_mode():
            theirs.append(model(torch.tensor([ids]), **extra).logits[0].numpy())
    for platform in PLATFORMS:
        with LLM(str(tmp_path), platform=platform) as llm:
            for index, (ids, types) in enumerate(zip(prompts(), kinds, strict=True)):
                llm.engine.submit(
                    Request(
                        id=str(index),
                        prompt=ids,
                        sampling=SamplingParams(),
                        max_tokens=0,
                        task="score",
                        types=bytes(types) if any(types) else b"",
                    )
                )
            outputs = {o.request_id: np.frombuffer(o.vector, "<f4") for o in llm.engine.step()}
        ours = np.stack([outputs[str(index)] for index in range(len(LENGTHS))])
        np.testing.assert_allclose(ours, np.stack(theirs), atol=1e-3)


@pytest.mark.parametrize("ending", ["ForCausalLM", "Model", "ForSequenceClassification"])
def test_decoders_embed_and_score_the_last_token(ending, tmp_path):
    torch.manual_seed(4)
    sizes = {**SIZES, "num_key_value_heads": 2, "head_dim": 32, "max_position_embeddings": 256}
    config = transformers.Qwen3Config(**sizes)
    model = getattr(transformers, f"Qwen3{ending}")(config).eval()
    model.save_pretrained(tmp_path)
    write_tokenizer(tmp_path, 320)
    theirs = []
    for ids in prompts():
        with torch.inference_mode():
            base = model(torch.tensor([ids]), output_hidden_states=True)
        scores = ending == "ForSequenceClassification"
        theirs.append((base.logits[0] if scores else base.hidden_states[-1][0, -1]).numpy())
    task = "score" if ending == "ForSequenceClassification" else "embed"
    for platform in PLATFORMS:
        with LLM(
            str(tmp_path), platform=platform, dtype="f32", task=task, max_num_batched_tokens=48
        ) as llm:
            for turn in range(2):  # the second time from the prefix cache
                for index, ids in enumerate(prompts()):
                    llm.engine.submit(
                        Request(
                            id=f"{turn}-{index}",
                            prompt=ids,
                            sampling=SamplingParams(),
                            max_tokens=0,
                            task=task,
                        )
                    )
                outputs = {}
                while llm.engine.has_work:
                    outputs |= {o.request_id: o for o in llm.engine.step()}
                ours = [outputs[f"{turn}-{i}"] for i in range(len(LENGTHS))]
                assert [o.cached for o in ours] == [(n - 1) * turn for n in LENGTHS]
                vectors = np.stack([np.frombuffer(o.vector, "<f4") for o in ours])
                np.testing.assert_allclose(vectors, np.stack(theirs), atol=1e-3)
