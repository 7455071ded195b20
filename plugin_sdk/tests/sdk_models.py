"""Tiny random models of every architecture, in transformers and as a loaded model of the reference platform."""

from __future__ import annotations

import numpy as np
import torch
import transformers
from dovetail import models
from dovetail.graph import Graph, Weight, WeightForm, with_forms
from dovetail_sdk.reference.platform import ReferenceDevice
from dovetail_sdk.runner import KernelModel

COMMON = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "tie_word_embeddings": False,
    "attn_implementation": "eager",
}

VARIANTS = {
    "llama": ("Llama", {}),
    "llama-tied-biased-interpolated": (
        "Llama",
        {
            "tie_word_embeddings": True,
            "attention_bias": True,
            "mlp_bias": True,
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        },
    ),
    "mistral-window": ("Mistral", {"sliding_window": 7, "head_dim": 16}),
    "qwen2": ("Qwen2", {}),
    "qwen2-mixed-windows": (
        "Qwen2",
        {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1},
    ),
    "qwen3": ("Qwen3", {"head_dim": 16}),
}


class ArraySource:
    """Weights from arrays by the names of the checkpoint's tensors; a WeightSource of the contract."""

    def __init__(self, graph: Graph, tensors: dict[str, np.ndarray]) -> None:
        self._graph, self._tensors = graph, tensors

    def spec(self, name: str) -> Weight:
        return self._graph.weights[name]

    def planes(self, name: str) -> tuple[str, ...]:
        return ("data",)

    def read(self, name: str, plane: str = "data", rows: slice = slice(None)) -> np.ndarray:
        parts = [self._tensors[part] for part in self._graph.weights[name].parts]
        return np.concatenate(parts)[rows]


def random_model(variant: str, seed: int = 0) -> transformers.PreTrainedModel:
    """A model with weights large enough that every op matters."""
    family, options = VARIANTS[variant]
    torch.manual_seed(seed)
    config = getattr(transformers, f"{family}Config")(**(COMMON | options))
    config.architectures = [f"{family}ForCausalLM"]
    model = getattr(transformers, f"{family}ForCausalLM")(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.normal_(1.0 if name.endswith("norm.weight") else 0.0, 0.25)
    return model


def graph_of(model: transformers.PreTrainedModel, dtype: str = "f32") -> Graph:
    return models.build(model.config.to_dict(), dtype=dtype)


def on_reference(model: transformers.PreTrainedModel, graph: Graph) -> KernelModel:
    tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    f32 = WeightForm("dense", "f32")
    source = ArraySource(with_forms(graph, dict.fromkeys(graph.weights, f32)), tensors)
    loaded = ReferenceDevice().load(graph, source)
    assert isinstance(loaded, KernelModel)
    return loaded


def log_softmax(model: transformers.PreTrainedModel, tokens: list[int]) -> np.ndarray:
    """[length, V] of a whole sequence at once."""
    with torch.no_grad():
        return torch.log_softmax(model(torch.tensor([tokens])).logits[0].float(), -1).numpy()
