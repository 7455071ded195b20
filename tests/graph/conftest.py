"""Small graphs, and devices that answer as told."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import pytest
from dovetail.graph import Graph, GraphBuilder, ops
from dovetail.models import build
from dovetail.platform import Support

Answer = Callable[[Graph], Sequence[Support]]


@pytest.fixture
def model() -> Callable[..., Graph]:
    """A decoder of two layers; options go into its config.json."""

    def make(architecture: str = "LlamaForCausalLM", **options: object) -> Graph:
        config: dict[str, object] = {
            "architectures": [architecture],
            "vocab_size": 96,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "max_position_embeddings": 128,
            "sliding_window": None,
            **options,
        }
        return build(config, dtype="f32")

    return make


@pytest.fixture
def device() -> Callable[..., Answer]:
    """`supports` of a device that runs everything but some ops and nodes."""

    def make(*, ops: Collection[str] = (), nodes: Collection[str] = ()) -> Answer:
        def supports(graph: Graph) -> Sequence[Support]:
            return tuple(
                Support(node.name, None, "not here")
                if node.op in ops or node.name in nodes
                else Support(node.name, "plain")
                for node in graph.nodes
            )

        return supports

    return make


@pytest.fixture
def own_ops() -> Iterator[None]:
    """Forgets the ops that a test registers."""
    before = dict(ops._ops)
    yield
    ops._ops.clear()
    ops._ops.update(before)


@pytest.fixture
def builder() -> GraphBuilder:
    """A builder with nothing in it."""
    return GraphBuilder("test", "f32")
