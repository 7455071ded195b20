"""Random checkpoints in ordinary Hugging Face form, small enough to make in every test."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

Tensors = dict[str, NDArray[Any]]

TINY: Mapping[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "torch_dtype": "float32",
}
MODEL_TYPES = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "mistral",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
}
STORED = {
    "float32": ("F32", np.dtype(np.float32)),
    "float16": ("F16", np.dtype(np.float16)),
    "bfloat16": ("BF16", np.dtype(ml_dtypes.bfloat16)),
}
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def write_checkpoint(
    directory: Path, *, seed: int = 0, spread: float = 0.25, **config: Any
) -> Path:
    """Write config.json, model.safetensors and a byte-level tokenizer; returns the directory.

    config  fields of config.json over TINY; architectures chooses the family
    spread  standard deviation of the matrices: large enough that logits differ clearly
    """
    values = {**TINY, **config}
    values["model_type"] = MODEL_TYPES[values["architectures"][0]]
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(values, indent=1))
    write_tokenizer(directory, values["vocab_size"])
    name, dtype = STORED[values["torch_dtype"]]
    rng = np.random.default_rng(seed)
    tensors = {
        key: _random(rng, key, shape, spread).astype(dtype) for key, shape in _shapes(values)
    }
    (directory / "model.safetensors").write_bytes(_safetensors(tensors, name))
    return directory


def _random(
    rng: np.random.Generator, name: str, shape: tuple[int, ...], spread: float
) -> NDArray[np.float32]:
    noise = rng.standard_normal(shape, dtype=np.float32)
    if name.endswith("norm.weight"):
        return 1 + 0.2 * noise
    return noise * np.float32(spread if len(shape) > 1 else 0.1)


def _shapes(config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, vocabulary = config["hidden_size"], config["vocab_size"]
    yield "model.embed_tokens.weight", (vocabulary, hidden)
    for layer in range(config["num_hidden_layers"]):
        for name, shape in _layer_shapes(config):
            yield f"model.layers.{layer}.{name}", shape
    yield "model.norm.weight", (hidden,)
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", (vocabulary, hidden)


def _layer_shapes(config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    family = config["architectures"][0]
    hidden, inner, width = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    query = config["num_attention_heads"] * width
    key = config["num_key_value_heads"] * width
    attention_bias = bool(config.get("attention_bias"))
    qkv_bias = attention_bias or family == "Qwen2ForCausalLM"
    linears = [
        ("self_attn.q_proj", query, hidden, qkv_bias),
        ("self_attn.k_proj", key, hidden, qkv_bias),
        ("self_attn.v_proj", key, hidden, qkv_bias),
        ("self_attn.o_proj", hidden, query, attention_bias),
        ("mlp.gate_proj", inner, hidden, bool(config.get("mlp_bias"))),
        ("mlp.up_proj", inner, hidden, bool(config.get("mlp_bias"))),
        ("mlp.down_proj", hidden, inner, bool(config.get("mlp_bias"))),
    ]
    yield "input_layernorm.weight", (hidden,)
    yield "post_attention_layernorm.weight", (hidden,)
    for name, outputs, inputs, bias in linears:
        yield f"{name}.weight", (outputs, inputs)
        if bias:
            yield f"{name}.bias", (outputs,)
    if family == "Qwen3ForCausalLM":
        yield "self_attn.q_norm.weight", (width,)
        yield "self_attn.k_norm.weight", (width,)


def _safetensors(tensors: Tensors, dtype: str) -> bytes:
    """The file format: length of the header, the header as JSON, the bytes of all tensors."""
    header, start = {}, 0
    for name, array in tensors.items():
        header[name] = {
            "dtype": dtype,
            "shape": list(array.shape),
            "data_offsets": [start, start + array.nbytes],
        }
        start += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(a.tobytes() for a in tensors.values())


def write_tokenizer(directory: Path, vocab_size: int) -> None:
    """Bytes as tokens after <s> and </s>; ids beyond 257 are words that no text has."""
    characters = _byte_characters()
    vocabulary = {"<s>": 0, "</s>": 1}
    for character in characters:
        if len(vocabulary) < vocab_size:
            vocabulary[character] = len(vocabulary)
    special = {
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": 0, "content": "<s>", **special},
            {"id": 1, "content": "</s>", **special},
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": False,
        },
        "post_processor": None,
        "decoder": {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": False,
        },
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
    settings = {"bos_token": "<s>", "eos_token": "</s>", "chat_template": CHAT_TEMPLATE}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))


def _byte_characters() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    stand_in = {byte: chr(byte) for byte in printable}
    stand_in |= {byte: chr(256 + index) for index, byte in enumerate(others)}
    return [stand_in[byte] for byte in range(256)]
