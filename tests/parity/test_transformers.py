"""The engine's numbers against transformers', in f32, for each family and option, on each platform that computes.

Every prompt goes through the whole engine: chunked prefill, mixed batches, prefix hits and preemption by recompute.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from dovetail import LLM, SamplingParams
from dovetail_sdk.testing import FAMILIES, write_checkpoint
from transformers import AutoModelForCausalLM

LENGTHS = (2, 9, 40, 130)
GREEDY = 64
TOP = 20
TOLERANCE = 1e-3
MARGIN = 0.1
PLATFORMS = ["reference", "cpu"] if importlib.util.find_spec("openvino") else ["reference"]


class Oracle:
    """transformers' log-probabilities of the next token after every position."""

    def __init__(self, directory: Path) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()

    def __call__(self, tokens: list[int]) -> np.ndarray:
        with torch.inference_mode():
            logits = self.model(torch.tensor([tokens]), use_cache=False).logits[0]
        return torch.log_softmax(logits, -1).numpy()


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def family(request, tmp_path_factory):
    directory = write_checkpoint(
        tmp_path_factory.mktemp(request.param), seed=7, **FAMILIES[request.param]
    )
    return directory, Oracle(directory)


def prompts(seed: int = 1) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(2, 320, length).tolist() for length in LENGTHS]


def check_scores(expected: np.ndarray, token: int, scored) -> None:
    """One token's report against transformers' log-probabilities [V] at its place."""
    assert abs(expected[token] - scored.logprob) <= TOLERANCE
    ids = np.array(scored.top_ids)
    assert len(ids) == TOP
    assert np.abs(expected[ids] - np.array(scored.top_logprobs)).max() <= TOLERANCE
    assert np.sort(expected)[-TOP] <= scored.top_logprobs[-1] + TOLERANCE


def check_completion(oracle: Oracle, completion) -> None:
    prompt, output = completion.prompt_token_ids, completion.outputs[0]
    expected = oracle(prompt + output.token_ids)
    for at, scored in enumerate(completion.prompt_logprobs or []):
        if scored is not None:
            check_scores(expected[at - 1], prompt[at], scored)
    for at, (token, scored) in enumerate(zip(output.token_ids, output.logprobs, strict=True)):
        place = expected[len(prompt) + at - 1]
        check_scores(place, token, scored)
        second, first = np.partition(place, -2)[-2:]
        if first - second > MARGIN:
            assert token == int(place.argmax())


@pytest.mark.parametrize("platform", PLATFORMS)
def test_log_probabilities_and_greedy_tokens_equal_transformers(family, platform):
    directory, oracle = family
    params = SamplingParams(
        temperature=0, max_tokens=GREEDY, ignore_eos=True, logprobs=TOP, prompt_logprobs=TOP
    )
    with LLM(str(directory), platform=platform, dtype="f32", max_num_batched_tokens=48) as llm:
        completions = llm.generate(prompts(), params)
    for completion in completions:
        assert len(completion.outputs[0].token_ids) == GREEDY
        assert len(completion.prompt_logprobs) == len(completion.prompt_token_ids)
        check_completion(oracle, completion)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_prefix_hits_and_preemption_change_nothing(family, platform):
    directory, oracle = family
    params = SamplingParams(temperature=0, max_tokens=GREEDY, ignore_eos=True, logprobs=TOP)
    base = prompts(2)
    shared = [base[3][: 130 - cut] + tail for cut, tail in ((0, [5]), (3, [6, 7]), (40, [8] * 9))]
    with LLM(
        str(directory),
        platform=platform,
        dtype="f32",
        max_num_batched_tokens=32,
        max_model_len=224,
        kv_cache_memory=cache_bytes(directory, platform, tokens=384),
    ) as llm:
        first = llm.generate(base, params)
        second = llm.generate(shared, params)
        stats = llm.engine.stats()
    assert stats.total_preemptions > 0
    assert [completion.cached_tokens for completion in second] == [130, 127, 90]
    for completion in first + second:
        check_completion(oracle, completion)


def cache_bytes(directory: Path, platform: str, tokens: int) -> int:
    """Room for this many tokens, whatever the platform's blocks are."""
    with LLM(str(directory), platform=platform, dtype="f32", kv_cache_memory=1 << 24) as llm:
        per_token = (1 << 24) / (llm.engine.info.num_blocks * llm.engine.info.block_size)
    return int(per_token * tokens) + 1
