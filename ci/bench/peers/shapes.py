"""Checkpoints with random weights in the shapes that are measured, in the forms that each engine reads.

Speed does not depend on the numbers. Rows of the embedding for ids without text are zero, so that greedy decoding never
picks them and every reply has text.
"""

from __future__ import annotations

import json
import random
import shutil
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

VOCABULARY = 32_000
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CORPUS_CHARACTERS = 30_000_000
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SMALL_FILES = ("tokenizer.json", "tokenizer_config.json", "generation_config.json")


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Sizes of a model; embedding and head are one matrix."""

    family: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int
    rope_theta: float
    context: int

    @property
    def width(self) -> int:
        """Of a head."""
        return self.hidden // self.heads


SHAPES = {
    "qwen0.5b": ModelShape("qwen2", 24, 896, 14, 2, 4864, 151_936, 1e6, 32_768),
    "llama1b": ModelShape("llama", 16, 2048, 32, 8, 8192, 128_256, 5e5, 32_768),
    "tiny": ModelShape("llama", 4, 256, 4, 2, 768, 32_000, 1e4, 8192),
}


def write_checkpoint(directory: Path, shape: ModelShape) -> Path:
    """A checkpoint in bf16 with a tokenizer of 32,000 ids; nothing is done if it is there."""
    if not (directory / "config.json").exists():
        directory.mkdir(parents=True, exist_ok=True)
        write_tokenizer(directory)
        save_file(dict(_weights(shape)), directory / "model.safetensors", metadata={"format": "pt"})
        (directory / "config.json").write_text(json.dumps(_config(shape), indent=1))
    return directory


def write_tokenizer(directory: Path) -> None:
    """Byte-level pieces learned from the standard library's sources, with the marks of ChatML."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=24,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sources(), trainer)
    unused = range(tokenizer.get_vocab_size(), VOCABULARY - len(SPECIAL))
    tokenizer.add_tokens([f"<unused{number}>" for number in unused])
    tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in SPECIAL])
    tokenizer.save(str(directory / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": SPECIAL[2],
        "pad_token": SPECIAL[0],
        "chat_template": CHATML,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=1))
    generation = {"eos_token_id": VOCABULARY - 1, "pad_token_id": VOCABULARY - 3}
    (directory / "generation_config.json").write_text(json.dumps(generation))


def _sources() -> Iterator[str]:
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py"))
    random.Random(0).shuffle(files)
    left = CORPUS_CHARACTERS
    for file in files:
        text = file.read_text(errors="replace")
        left -= len(text)
        if left < 0:
            return
        yield text


def _weights(shape: ModelShape) -> Iterator[tuple[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)

    def noise(*size: int, spread: float) -> torch.Tensor:
        return (torch.randn(*size, generator=generator) * spread).to(torch.bfloat16)

    def ones() -> torch.Tensor:
        return torch.ones(shape.hidden, dtype=torch.bfloat16)

    embedding = noise(shape.vocabulary, shape.hidden, spread=0.05)
    embedding[VOCABULARY - len(SPECIAL) :] = 0
    yield "model.embed_tokens.weight", embedding
    yield "model.norm.weight", ones()
    for layer in range(shape.layers):
        prefix = f"model.layers.{layer}."
        for name, rows, columns in _matrices(shape):
            yield f"{prefix}{name}.weight", noise(rows, columns, spread=columns**-0.5)
            if shape.family == "qwen2" and name[-6:] in ("q_proj", "k_proj", "v_proj"):
                yield f"{prefix}{name}.bias", noise(rows, spread=0.02)
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield f"{prefix}{name}.weight", ones()


def _matrices(shape: ModelShape) -> Iterator[tuple[str, int, int]]:
    hidden, inner, kv = shape.hidden, shape.intermediate, shape.kv_heads * shape.width
    yield "self_attn.q_proj", hidden, hidden
    yield "self_attn.k_proj", kv, hidden
    yield "self_attn.v_proj", kv, hidden
    yield "self_attn.o_proj", hidden, hidden
    yield "mlp.gate_proj", inner, hidden
    yield "mlp.up_proj", inner, hidden
    yield "mlp.down_proj", hidden, inner


def _config(shape: ModelShape) -> dict[str, object]:
    return {
        "architectures": [{"qwen2": "Qwen2ForCausalLM", "llama": "LlamaForCausalLM"}[shape.family]],
        "model_type": shape.family,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.width,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": shape.context,
        "rope_theta": shape.rope_theta,
        "rms_norm_eps": 1e-6,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "bos_token_id": VOCABULARY - 3,
        "eos_token_id": VOCABULARY - 1,
    }


# ---------------------------------------------------------------------- compressed-tensors, which vLLM reads


def write_w8a8(source: Path, directory: Path) -> Path:
    """int8 weights per channel, int8 activations per token, rounded to nearest; head and embedding stay bf16."""
    weights = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"}
    activations = {
        "num_bits": 8,
        "type": "int",
        "symmetric": True,
        "strategy": "token",
        "dynamic": True,
    }

    def quantise(name: str, weight: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
        scale = weight.abs().amax(1, keepdim=True) / 127
        yield name, (weight / scale).round().clamp(-128, 127).to(torch.int8)
        yield f"{name}_scale", scale.to(torch.bfloat16)

    return _write_compressed(source, directory, "int-quantized", weights, activations, quantise)


def write_w4a16(source: Path, directory: Path, group: int = 128) -> Path:
    """int4 weights in groups, rounded to nearest; head and embedding stay bf16."""
    weights = {
        "num_bits": 4,
        "type": "int",
        "symmetric": True,
        "strategy": "group",
        "group_size": group,
    }

    def quantise(name: str, weight: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
        rows, columns = weight.shape
        groups = weight.view(rows, columns // group, group)
        scale = groups.abs().amax(2, keepdim=True) / 7
        levels = ((groups / scale).round().clamp(-8, 7) + 8).to(torch.int32).view(rows, -1, 8)
        shifts = torch.arange(8, dtype=torch.int32) * 4
        yield f"{name}_packed", (levels << shifts).sum(2, dtype=torch.int32)
        yield f"{name}_scale", scale.squeeze(2).to(torch.bfloat16)
        yield f"{name}_shape", torch.tensor([rows, columns], dtype=torch.int64)

    return _write_compressed(source, directory, "pack-quantized", weights, None, quantise)


def _write_compressed(
    source: Path,
    directory: Path,
    form: str,
    weights: dict[str, object],
    activations: dict[str, object] | None,
    quantise: Callable[[str, torch.Tensor], Iterator[tuple[str, torch.Tensor]]],
) -> Path:
    if (directory / "config.json").exists():
        return directory
    directory.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in load_file(source / "model.safetensors").items():
        if name.endswith("_proj.weight"):
            tensors |= dict(quantise(name, tensor.float()))
        else:
            tensors[name] = tensor
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((source / "config.json").read_text())
    config["quantization_config"] = {
        "quant_method": "compressed-tensors",
        "format": form,
        "quantization_status": "compressed",
        "ignore": ["lm_head"],
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "weights": weights,
                "input_activations": activations,
                "output_activations": None,
            }
        },
    }
    (directory / "config.json").write_text(json.dumps(config, indent=1))
    for file in SMALL_FILES:
        shutil.copy(source / file, directory)
    return directory
