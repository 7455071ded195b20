"""The checkpoint as Hugging Face libraries read it: weights, configuration, tokenizer, template."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from ci.demo_model.model import DemoModel, Shape
from ci.demo_model.tokenizer import END, END_OF_TEXT

TEMPLATE = Path(__file__).with_name("chat_template.jinja")


def export(model: DemoModel, tokenizer: Tokenizer, folder: Path) -> None:
    """Write every file of the checkpoint but its README; each file appears whole."""
    folder.mkdir(parents=True, exist_ok=True)
    shape = model.shape
    _write_json(folder / "config.json", _configuration(shape, tokenizer))
    _write_json(folder / "generation_config.json", _generation(tokenizer))
    _write_json(folder / "tokenizer_config.json", _tokenizer_configuration(shape))
    tokenizer.save(str(folder / "tokenizer.json"))
    unfinished = folder / "model.safetensors.unfinished"
    save_file(weights(model), unfinished, metadata={"format": "pt"})
    unfinished.chmod(0o644)  # save_file leaves it readable by its owner alone
    os.replace(unfinished, folder / "model.safetensors")


def weights(model: DemoModel) -> dict[str, Tensor]:
    """The weights in bf16 under Qwen3's names."""
    named: dict[str, Tensor] = {
        "model.embed_tokens": model.embedding,
        "model.norm": model.norm.weight,
    }
    for index, layer in enumerate(model.layers.children()):
        for name, tensor in _layer_weights(layer, model.shape).items():
            named[f"model.layers.{index}.{name}"] = tensor
    return {
        f"{name}.weight": tensor.detach().to(torch.bfloat16).contiguous().clone()
        for name, tensor in named.items()
    }


def _layer_weights(layer: Any, shape: Shape) -> dict[str, Tensor]:
    queries = shape.num_attention_heads * shape.head_dim
    keys = shape.num_key_value_heads * shape.head_dim
    q, k, v = torch.split(layer.qkv.weight, [queries, keys, keys])
    gate, up = layer.gate_up.weight.chunk(2)
    return {
        "input_layernorm": layer.input_norm.weight,
        "self_attn.q_proj": q,
        "self_attn.k_proj": k,
        "self_attn.v_proj": v,
        "self_attn.o_proj": layer.out.weight,
        "self_attn.q_norm": layer.query_norm.weight,
        "self_attn.k_norm": layer.key_norm.weight,
        "post_attention_layernorm": layer.mlp_norm.weight,
        "mlp.gate_proj": gate,
        "mlp.up_proj": up,
        "mlp.down_proj": layer.down.weight,
    }


def _configuration(shape: Shape, tokenizer: Tokenizer) -> dict[str, object]:
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.num_hidden_layers,
        "num_attention_heads": shape.num_attention_heads,
        "num_key_value_heads": shape.num_key_value_heads,
        "head_dim": shape.head_dim,
        "max_position_embeddings": shape.max_position_embeddings,
        "rms_norm_eps": shape.rms_norm_eps,
        "rope_theta": shape.rope_theta,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "bos_token_id": tokenizer.token_to_id(END_OF_TEXT),
        "eos_token_id": tokenizer.token_to_id(END),
        "pad_token_id": tokenizer.token_to_id(END_OF_TEXT),
    }


def _generation(tokenizer: Tokenizer) -> dict[str, object]:
    ends = [tokenizer.token_to_id(END), tokenizer.token_to_id(END_OF_TEXT)]
    return {"eos_token_id": ends, "pad_token_id": ends[1], "do_sample": False}


def _tokenizer_configuration(shape: Shape) -> dict[str, object]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "pad_token": END_OF_TEXT,
        "model_max_length": shape.max_position_embeddings,
        "clean_up_tokenization_spaces": False,
        "chat_template": TEMPLATE.read_text(encoding="utf-8").rstrip("\n"),
    }


def _write_json(path: Path, value: dict[str, object]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
