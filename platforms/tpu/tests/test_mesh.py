"""A mesh of virtual devices says what one device says, and meets twice per layer."""

import re

import numpy as np
import pytest
from dovetail import models
from dovetail.graph import INT8, passes, with_forms
from dovetail.platform import KVLayout, Shape
from dovetail_sdk.conformance.driving import Row, fetch, make_batch, sample
from dovetail_sdk.conformance.layers.models import fill
from dovetail_sdk.conformance.numbers import Weights
from dovetail_tpu.platform import TpuPlatform

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": 256,
}
SHAPE = Shape(tokens=64, rows=8, outputs=8, blocks=8)


def open_model(members, **options):
    """A model over so many members, with a cache and a program."""
    platform = TpuPlatform()
    device = platform.open([info for info in platform.probe() if info.emulated][:members])
    plain = models.build({**CONFIG, **options}, dtype="f32")
    if options.get("quantised"):
        names = [name for name in plain.weights if name.endswith("_proj.weight")]
        plain = with_forms(plain, dict.fromkeys(names, INT8))
    able = device.capabilities
    graph = passes.prepare(
        plain,
        ops=able.ops,
        supports=device.supports,
        fused=able.fused_ops,
        rewrites=able.rewrites,
        members=members,
    ).graph
    model = device.load(graph, Weights(graph, fill, plain))
    model.allocate(KVLayout(4, "f32", graph.cache), (32,) * len(graph.cache))
    return model, model.compile(SHAPE), len(graph.cache)


def greedy(members, **options):
    """Logits after a prompt of two rows, and twelve greedy tokens of each, by slot."""
    model, program, groups = open_model(members, **options)
    prompts = [[5, 9, 2, 7, 33], [60, 1, 44]]
    blocks = [[1 + 8 * row + at for at in range(6)] for row in range(2)]
    rows = [Row(p, 0, b, slot) for slot, (p, b) in enumerate(zip(prompts, blocks, strict=True), 1)]
    pending = program.run(make_batch(groups, rows, [4, 7], copies=[(1, 30)]))
    logits, found = fetch(pending, "logits", [0, 1]), []
    for step in range(12):
        found.append(sample(pending, [0, 1], slot=[1, 2]).result().ids.tolist())
        rows = [Row([~(r + 1)], len(prompts[r]) + step, blocks[r], r + 1) for r in range(2)]
        pending = program.run(make_batch(groups, rows, [0, 1]))
    model.close()
    return logits, found


@pytest.mark.parametrize(
    ("members", "options"),
    [
        (2, {}),
        (2, {"quantised": True, "attention_bias": True, "mlp_bias": True}),
        (4, {"tie_word_embeddings": True}),
        (8, {}),
    ],
    ids=["2", "2-int8-biases", "4-tied", "8-more-members-than-key-heads"],
)
def test_a_mesh_says_what_one_device_says(members, options):
    alone, together = greedy(1, **options), greedy(members, **options)
    np.testing.assert_allclose(together[0], alone[0], rtol=0, atol=2e-4)
    assert together[1] == alone[1]


def test_members_meet_twice_in_a_layer():
    """Read from the compiled program: two sums in the loop over layers, one for the tokens' embeddings."""
    model, program, _ = open_model(8)
    text = model._resident.executable(program._buckets[-1]).call.as_text()
    bodies = re.findall(r"all-reduce(?:-start)?\(", text)
    assert len(bodies) == 2 + 1
    loop = next(
        part for part in re.split(r"\n\n", text) if "all-reduce" in part and "ENTRY" not in part
    )
    assert len(re.findall(r"all-reduce(?:-start)?\(", loop)) == 2
    model.close()
