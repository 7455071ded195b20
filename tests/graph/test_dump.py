"""The text form is the same for the same graph, and shows what differs."""

from __future__ import annotations

from collections.abc import Callable

from dovetail.graph import INT8, Graph, dump, with_forms
from dovetail.graph.dump import attribute, spans

Model = Callable[..., Graph]


def test_equal_graphs_have_equal_text(model: Model) -> None:
    assert dump(model()) == dump(model())


def test_text_shows_every_part(model: Model) -> None:
    text = dump(model("Qwen3ForCausalLM", tie_word_embeddings=True))
    assert text.startswith("graph Qwen3ForCausalLM f32\ninput tokens i32 [T]\n")
    assert "cache full layers=0-1 kv_heads=2 key_width=16 value_width=16 window=None" in text
    assert "weight model.embed_tokens.weight f32 [96, 32]\n" in text
    assert "layers.1.kv_write cache [] = kv_write(layers.1.k_rope, layers.1.v) @1\n" in text
    assert "logits f32 [N, 96] = linear(norm) weight=model.embed_tokens.weight\n" in text
    assert text.endswith("output logits = logits\n")


def test_text_shows_forms_and_frequencies(model: Model) -> None:
    graph = model()
    assert dump(with_forms(graph, {"lm_head.weight": INT8})) != dump(graph)
    assert dump(model(rope_theta=5000.0)) != dump(graph)
    assert max(map(len, dump(graph).splitlines())) < 250


def test_numbers_stand_for_names(model: Model) -> None:
    text = dump(model(), names=False)
    assert "layers.0.q" not in text.replace("model.layers.0.", "")
    assert "%3 f32 [T, 32] = embed(%0)" in text


def test_long_tuples_are_digests() -> None:
    assert attribute((1, 2)) == "(1, 2)"
    long = tuple(float(number) for number in range(9))
    assert attribute(long).startswith("<9 values ")
    assert attribute(long) != attribute((*long[:-1], 8.5))


def test_runs_of_layers_are_spans() -> None:
    assert spans((0, 1, 2, 5, 7, 8)) == "0-2,5,7-8"
