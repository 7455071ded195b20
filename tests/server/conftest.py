"""A tiny checkpoint with a tokenizer and a chat template, served on the null platform."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

CHATML = (
    "{%- if tools %}<|im_start|>system\n"
    "{%- for tool in tools %}{{ tool | tojson }}\n{% endfor %}"
    'Answer with <tool_call>{"name": ..., "arguments": ...}</tool_call><|im_end|>\n{% endif %}'
    "{%- for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
VOCAB = 512


def make_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    text = "The quick brown fox jumps over the lazy dog. Größe, naïve, 你好, 😀. one two three"
    tokenizer.train_from_iterator([text] * 20, trainer)
    return tokenizer


def make_checkpoint(directory: Path, *, context: int = 4096, template: str | None = CHATML) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    width, ffn, layers, heads = 64, 128, 1, 2
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": width,
        "intermediate_size": ffn,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "head_dim": 32,
        "vocab_size": VOCAB,
        "max_position_embeddings": context,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "hidden_act": "silu",
        "torch_dtype": "float32",
        "eos_token_id": 2,
    }
    (directory / "config.json").write_text(json.dumps(config))
    make_tokenizer().save(str(directory / "tokenizer.json"))
    settings = {"eos_token": "<|im_end|>", "chat_template": template}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    draw = np.random.default_rng(0)

    def weight(*shape: int) -> np.ndarray:
        return draw.standard_normal(shape, dtype=np.float32) * 0.02

    tensors = {"model.embed_tokens.weight": weight(VOCAB, width), "model.norm.weight": weight(width)}
    for layer in range(layers):
        at = f"model.layers.{layer}."
        for name in ("q", "k", "v", "o"):
            tensors[f"{at}self_attn.{name}_proj.weight"] = weight(width, width)
        tensors[f"{at}mlp.gate_proj.weight"] = weight(ffn, width)
        tensors[f"{at}mlp.up_proj.weight"] = weight(ffn, width)
        tensors[f"{at}mlp.down_proj.weight"] = weight(width, ffn)
        tensors[f"{at}input_layernorm.weight"] = weight(width)
        tensors[f"{at}post_attention_layernorm.weight"] = weight(width)
    save_file(tensors, directory / "model.safetensors")
    return directory


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("models") / "tiny")
