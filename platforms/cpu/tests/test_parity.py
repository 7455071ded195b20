"""f32 on the CPU platform against transformers in f32, for every family and rope type."""

from typing import Any

import numpy as np
import pytest
from cpu_driver import Driver, Reference, blocks_for, prompt
from dovetail.platform import Device
from dovetail_sdk.testing import FAMILIES, write_checkpoint

MODELS: dict[str, dict[str, Any]] = {
    **FAMILIES,
    "llama-gelu": {"hidden_act": "gelu"},
    "llama-narrow-heads": {"head_dim": 8},
    "mistral-window-of-blocks": {"architectures": ["MistralForCausalLM"], "sliding_window": 64},
    "qwen3-wide-heads": {"architectures": ["Qwen3ForCausalLM"], "head_dim": 128},
}


@pytest.fixture(scope="module", params=MODELS)
def pair(
    request: pytest.FixtureRequest, device: Device, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Driver, Reference]:
    directory = write_checkpoint(tmp_path_factory.mktemp("model") / "m", **MODELS[request.param])
    return Driver(device, directory), Reference(directory)


@pytest.mark.parametrize("length", [2, 9, 40, 130])
def test_a_whole_prompt_matches_transformers(pair, length):
    driver, reference = pair
    tokens = prompt(length, seed=length)
    assert np.abs(driver.whole(tokens) - reference.whole(tokens)).max() <= 1e-3


def test_a_chunked_prompt_matches_transformers(pair):
    driver, reference = pair
    tokens, blocks = prompt(130, seed=1), blocks_for(130, first=9)
    parts = [
        driver.step([(tokens[start:end], start, blocks)])
        for start, end in ((0, 17), (17, 40), (40, 41), (41, 129), (129, 130))
    ]
    assert np.abs(np.concatenate(parts) - reference.whole(tokens)).max() <= 1e-3


def test_greedy_tokens_match_wherever_transformers_is_sure(pair):
    driver, reference = pair
    tokens, blocks = prompt(20, seed=2), blocks_for(96, first=4)
    found = [driver.step([(tokens, 0, blocks)])[-1].argmax()]
    for past in range(20, 83):
        tokens.append(int(found[-1]))
        found.append(driver.step([(tokens[past:], past, blocks)])[-1].argmax())
    wanted = reference.whole(tokens)[19:]
    best = np.sort(wanted, -1)
    sure = best[:, -1] - best[:, -2] > 0.1
    assert sure.sum() > 16
    assert (wanted.argmax(-1) == np.array(found))[sure].all()
