"""Checkpoints spell a tensor's name in more than one way: with or without the wrapper's name before it, old ones with
TensorFlow's words for a norm's weight and bias, Nomic's as published or as transformers has them. A graph is made to ask
for the names that are there."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from dovetail.graph import Graph

WRAPPERS = ("model.", "bert.", "roberta.")
"""What the classes with a head call the model that they wrap."""
OLD_NORMS = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
NOMIC = {
    "encoder.layers.": "layers.",
    "emb_ln.": "embeddings.LayerNorm.",
    ".attn.out_proj.": ".self_attn.o_proj.",
    ".mlp.fc11.": ".mlp.up_proj.",
    ".mlp.fc12.": ".mlp.gate_proj.",
    ".mlp.fc2.": ".mlp.down_proj.",
    ".norm1.": ".post_attention_layernorm.",
    ".norm2.": ".post_mlp_layernorm.",
}
JOINED = (".attn.Wqkv.", tuple(f".self_attn.{name}_proj." for name in "qkv"))
"""One matrix as published, three in transformers."""


def fit_names(graph: Graph, tensors: Collection[str]) -> Graph:
    """The graph with each weight's parts named as the checkpoint names them; what is nowhere keeps its name."""
    weights = {}
    for name, weight in graph.weights.items():
        parts = tuple(found for part in weight.parts for found in _found(part, tensors))
        weights[name] = weight if parts == weight.parts else replace(weight, parts=parts)
    return replace(graph, weights=weights)


def _found(part: str, tensors: Collection[str]) -> tuple[str, ...]:
    return next((s for s in spellings(part) if all(name in tensors for name in s)), (part,))


def spellings(part: str) -> Iterator[tuple[str, ...]]:
    """A tensor's possible names, its own first; several are tensors whose rows make it."""
    bare = next((part[len(w) :] for w in WRAPPERS if part.startswith(w)), part)
    for name in (part, bare, *(wrapper + bare for wrapper in WRAPPERS)):
        yield (name,)
        for new, old in OLD_NORMS.items():
            if name.endswith(new):
                yield (name.removesuffix(new) + old,)
    own = part
    for published, transformers in NOMIC.items():
        own = own.replace(published, transformers)
    joined, apart = JOINED
    yield tuple(own.replace(joined, each) for each in apart) if joined in own else (own,)
