"""The Qwen3 architecture for training on CPUs: f32 weights, bf16 compute, packed rows.

Not a general implementation: no cache, no dropout; `export` gives the weights Qwen3's names.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the model, under the names Qwen3's configuration has for them."""

    vocab_size: int = 2048
    hidden_size: int = 256
    intermediate_size: int = 768
    num_hidden_layers: int = 6
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 64
    max_position_embeddings: int = 2048
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-6


class Linear(nn.Module):
    """Weights in f32, used in the input's dtype; no bias."""

    def __init__(self, width_in: int, width_out: int, deviation: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width_out, width_in) * deviation)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight.to(x.dtype))


class RMSNorm(nn.Module):
    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return (wide * scale * self.weight).to(x.dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding in the two-halves layout; x [R, T, heads, D], cos [T, 1, D/2]."""
    first, second = x.chunk(2, -1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)


class Layer(nn.Module):
    """Grouped-query attention with normed queries and keys, then a gated MLP."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, head = shape.hidden_size, shape.head_dim
        self.counts = (shape.num_attention_heads, shape.num_key_value_heads)
        queries, keys = (count * head for count in self.counts)
        entry = width**-0.5
        leaving = entry / math.sqrt(2 * shape.num_hidden_layers)
        self.input_norm = RMSNorm(width, shape.rms_norm_eps)
        self.qkv = Linear(width, queries + 2 * keys, entry)
        self.query_norm = RMSNorm(head, shape.rms_norm_eps)
        self.key_norm = RMSNorm(head, shape.rms_norm_eps)
        self.out = Linear(queries, width, leaving)
        self.mlp_norm = RMSNorm(width, shape.rms_norm_eps)
        self.gate_up = Linear(width, 2 * shape.intermediate_size, entry)
        self.down = Linear(shape.intermediate_size, width, leaving)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        """x [R, T, W]; mask [R, 1, T, T] true where a position is seen."""
        rows, length, _ = x.shape
        heads, groups = self.counts
        parts = self.qkv(self.input_norm(x)).view(rows, length, heads + 2 * groups, -1)
        q, k, v = parts.split((heads, groups, groups), 2)
        q = rotate(self.query_norm(q), cos, sin).transpose(1, 2)
        k = rotate(self.key_norm(k), cos, sin).transpose(1, 2)
        k = k.repeat_interleave(heads // groups, 1)
        v = v.transpose(1, 2).repeat_interleave(heads // groups, 1)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.out(mixed.transpose(1, 2).reshape(rows, length, -1))
        gate, up = self.gate_up(self.mlp_norm(x)).chunk(2, -1)
        result: Tensor = x + self.down(functional.silu(gate) * up)
        return result


class DemoModel(nn.Module):
    """The whole model; its head is its embedding."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Parameter(torch.randn(shape.vocab_size, shape.hidden_size) * 0.02)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.num_hidden_layers))
        self.norm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        steps = torch.arange(0, shape.head_dim, 2) / shape.head_dim
        places = torch.arange(shape.max_position_embeddings).float()
        angles = torch.outer(places, 1 / shape.rope_theta**steps)[:, None]
        self.register_buffer("cos", angles.cos().bfloat16(), persistent=False)
        self.register_buffer("sin", angles.sin().bfloat16(), persistent=False)

    def forward(self, tokens: Tensor, documents: Tensor) -> Tensor:
        """Last hidden states [R, T, W] in bf16; documents [R, T] numbers each row's conversations."""
        length = tokens.shape[1]
        x = functional.embedding(tokens, self.embedding).bfloat16()
        same = documents[:, None, :, None] == documents[:, None, None, :]
        mask = same & torch.ones(length, length, dtype=torch.bool).tril()
        cos, sin = self.get_buffer("cos")[:length], self.get_buffer("sin")[:length]
        for layer in self.layers:
            x = layer(x, cos, sin, mask)
        result: Tensor = self.norm(x)
        return result

    def loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Mean cross entropy over the positions whose target is not negative."""
        kept = (targets.view(-1) >= 0).nonzero().squeeze(1)
        chosen = hidden.reshape(-1, hidden.shape[-1])[kept]
        logits = functional.linear(chosen, self.embedding.to(chosen.dtype))
        return functional.cross_entropy(logits.float(), targets.view(-1)[kept])
