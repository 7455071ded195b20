"""Model families and options whose numbers are compared with transformers."""

from __future__ import annotations

from typing import Any

LLAMA = {"architectures": ["LlamaForCausalLM"]}
MISTRAL = {"architectures": ["MistralForCausalLM"]}
QWEN2 = {"architectures": ["Qwen2ForCausalLM"], "head_dim": 32, "hidden_size": 128}
QWEN3 = {"architectures": ["Qwen3ForCausalLM"], "head_dim": 64}

FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {**LLAMA, "hidden_size": 128},
    "llama-tied": {**LLAMA, "tie_word_embeddings": True},
    "llama-biases": {**LLAMA, "attention_bias": True, "mlp_bias": True},
    "llama-wide-heads": {**LLAMA, "head_dim": 48, "num_key_value_heads": 4},
    "llama-one-kv-head": {**LLAMA, "num_key_value_heads": 1},
    "llama-rope-linear": {**LLAMA, "rope_scaling": {"rope_type": "linear", "factor": 4.0}},
    "llama-rope-dynamic": {
        **LLAMA,
        "max_position_embeddings": 512,
        "rope_scaling": {"rope_type": "dynamic", "factor": 2.0},
    },
    "llama-rope-llama3": {
        **LLAMA,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    },
    "llama-rope-yarn": {
        **LLAMA,
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 128,
        },
    },
    "mistral-window": {**MISTRAL, "sliding_window": 24},
    "mistral-no-window": {**MISTRAL, "sliding_window": None},
    "qwen2": QWEN2,
    "qwen2-tied": {**QWEN2, "tie_word_embeddings": True},
    "qwen2-mixed-windows": {
        **QWEN2,
        "use_sliding_window": True,
        "sliding_window": 24,
        "max_window_layers": 1,
    },
    "qwen3": QWEN3,
    "qwen3-tied-biases": {**QWEN3, "tie_word_embeddings": True, "attention_bias": True},
}
