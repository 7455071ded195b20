"""The models and sizes that gpu.py measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SHAPES: dict[str, dict[str, Any]] = {
    "llama-3.1-8b": {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": 128256,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 5e5,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
    },
    "qwen2.5-0.5b": {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "vocab_size": 151936,
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1e6,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
    },
    "tiny": {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": 384,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5,
        "rope_theta": 1e4,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much of everything.

    copy_bytes, matmul  of the ceilings: bytes copied, edge of the square matrices
    context             tokens before a decoding step
    steps               decoding steps that are timed
    requests            of the offline runs; mean_prompt and mean_reply tokens each, long-tailed
    """

    shapes: tuple[str, ...] = ("llama-3.1-8b", "qwen2.5-0.5b")
    served: tuple[str, ...] = ("llama-3.1-8b",)
    forms: tuple[str, ...] = ("bf16", "int4", "fp8")
    rows: tuple[int, ...] = (1, 8, 32, 128, 256)
    prompts: tuple[int, ...] = (2048, 8192)
    context: int = 512
    steps: int = 40
    copy_bytes: int = 4 << 30
    matmul: int = 8192
    requests: int = 512
    mean_prompt: int = 220
    mean_reply: int = 190
    longest: int = 1024
    compared: int = 64
    model_len: int = 10240


TINY = Sizes(
    shapes=("tiny",),
    served=("tiny",),
    forms=("bf16", "int4", "fp8"),
    rows=(1, 4),
    prompts=(48,),
    context=24,
    steps=3,
    copy_bytes=1 << 20,
    matmul=128,
    requests=6,
    mean_prompt=12,
    mean_reply=6,
    longest=24,
    compared=3,
    model_len=128,
)
