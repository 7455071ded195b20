"""f32 on the CPU platform against transformers in f32, for every family and rope type."""


import numpy as np
import pytest
from cpu_driver import Driver, Reference, blocks_for, prompt
from dovetail.platform import Device
from dovetail_sdk.testing.checkpoints import write_checkpoint

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}

MODELS: dict[str, dict[str, object]] = {
    "llama": {},
    "llama tied": {"tie_word_embeddings": True},
    "llama biases": {"attention_bias": True, "mlp_bias": True},
    "llama wide heads": {"head_dim": 48},
    "llama one kv head": {"num_key_value_heads": 1},
    "llama gelu": {"hidden_act": "gelu"},
    "llama linear": {"rope_scaling": {"rope_type": "linear", "factor": 2.0}},
    "llama llama3": {"rope_scaling": LLAMA3},
    "llama yarn": {"rope_scaling": YARN},
    "mistral": {"architectures": ["MistralForCausalLM"], "sliding_window": None},
    "mistral window": {"architectures": ["MistralForCausalLM"], "sliding_window": 24},
    "mistral window of blocks": {"architectures": ["MistralForCausalLM"], "sliding_window": 64},
    "qwen2": {"architectures": ["Qwen2ForCausalLM"]},
    "qwen2 tied": {"architectures": ["Qwen2ForCausalLM"], "tie_word_embeddings": True},
    "qwen2 some windows": {
        "architectures": ["Qwen2ForCausalLM"],
        "use_sliding_window": True,
        "sliding_window": 24,
        "max_window_layers": 1,
    },
    "qwen3": {"architectures": ["Qwen3ForCausalLM"]},
    "qwen3 wide heads tied": {
        "architectures": ["Qwen3ForCausalLM"],
        "head_dim": 64,
        "tie_word_embeddings": True,
    },
}


@pytest.fixture(scope="module", params=MODELS, ids=lambda name: name.replace(" ", "-"))
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
