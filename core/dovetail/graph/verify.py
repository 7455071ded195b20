"""What every graph must hold to, checked in one walk; all faults are reported together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from .graph import COMPUTE_DTYPES, CacheGroup, Graph, Node, Weight
from .ops import OPS
from .spec import Axes, GraphError, Inference, infer


def verify(graph: Graph) -> None:
    """Raise GraphError listing every fault of a graph; a graph that passes can be handed to any pass or device."""
    found = list(faults(graph))
    if found:
        raise GraphError(f"graph {graph.name} has {len(found)} faults:\n  " + "\n  ".join(found))


def faults(graph: Graph) -> Iterator[str]:
    """The faults of a graph, one line each."""
    if graph.dtype not in COMPUTE_DTYPES:
        yield f"dtype is {graph.dtype!r}; expected one of {', '.join(COMPUTE_DTYPES)}"
    for name, weight in graph.weights.items():
        yield from weight_faults(name, weight)
    made = set(graph.inputs)
    for name in graph.inputs:
        if name not in graph.values:
            yield f"input {name} has no value"
    for node in graph.nodes:
        yield from (f"{node.name}: {fault}" for fault in node_faults(graph, node, made))
        made.update(node.outputs)
    yield from name_faults(graph, made)
    yield from cache_faults(graph)


def name_faults(graph: Graph, made: set[str]) -> Iterator[str]:
    """Names that are used twice, for nothing, or by nobody."""
    for name, count in Counter(node.name for node in graph.nodes).items():
        if count > 1:
            yield f"{count} nodes are called {name}"
    for name, value in graph.values.items():
        if value.name != name:
            yield f"value {name} calls itself {value.name}"
        if name not in made:
            yield f"value {name} is made by nothing"
    if not graph.outputs:
        yield "there is no output"
    for name, value_name in graph.outputs.items():
        if value_name not in made:
            yield f"output {name} is {value_name}, which nothing makes"
    used = {weight for node in graph.nodes for weight in node.weights.values()}
    for name in graph.weights:
        if name not in used:
            yield f"weight {name} is used by no node"


def weight_faults(name: str, weight: Weight) -> Iterator[str]:
    """What is wrong with a weight by itself."""
    form = weight.form
    if weight.name != name:
        yield f"weight {name} calls itself {weight.name}"
    if not weight.shape or min(weight.shape) < 1:
        yield f"weight {name} has shape {weight.shape}"
    if not weight.parts:
        yield f"weight {name} is made of no tensor"
    if form.kind == "dense" and form.dtype not in COMPUTE_DTYPES:
        yield f"weight {name} is dense in {form.dtype!r}"
    if form.kind != "dense" and len(weight.shape) != 2:
        yield f"weight {name} of shape {weight.shape} cannot be {form}; only matrices can"
    elif form.kind == "int4_group" and (
        form.group < 2 or form.group % 2 or weight.shape[1] % form.group
    ):
        yield f"weight {name} of shape {weight.shape} cannot be in groups of {form.group}"


def node_faults(graph: Graph, node: Node, made: set[str]) -> Iterator[str]:
    """What is wrong with a node, given the values made before it."""
    spec = OPS.get(node.op)
    if spec is None:
        yield f"unknown op {node.op}"
        return
    missing = [name for name in node.inputs if name not in made or name not in graph.values]
    missing += [name for name in node.outputs if name not in graph.values]
    missing += [name for name in node.weights.values() if name not in graph.weights]
    yield from (f"{name} is not made before it is used" for name in missing)
    yield from (f"{name} is made twice" for name in node.outputs if name in made)
    if missing:
        return
    if spec.layered != (node.layer is not None):
        yield f"layer is {node.layer}; {node.op} {'needs one' if spec.layered else 'has none'}"
    try:
        attributes = spec.normal_attributes(node.attributes)
        if dict(attributes) != dict(node.attributes):
            yield "attributes lack defaults or are not in their normal form"
        inputs = [graph.values[name] for name in node.inputs]
        weights = {role: graph.weights[name] for role, name in node.weights.items()}
        inference = infer(spec, graph.dtype, inputs, weights, attributes)
    except GraphError as error:
        yield str(error)
        return
    yield from output_faults(graph, node, inference)
    if node.layer is not None:
        yield from group_faults(graph, node, inference.axes)


def output_faults(graph: Graph, node: Node, inference: Inference) -> Iterator[str]:
    """Where a node's outputs differ from what follows from its inputs."""
    if len(node.outputs) != len(inference.outputs):
        yield f"{len(node.outputs)} outputs; expected {len(inference.outputs)}"
        return
    for name, (shape, dtype) in zip(node.outputs, inference.outputs, strict=True):
        value = graph.values[name]
        if (value.shape, value.dtype) != (shape, dtype):
            yield f"{name} is {value.dtype} {value.shape}; expected {dtype} {shape}"


def group_faults(graph: Graph, node: Node, axes: Axes) -> Iterator[str]:
    """Where a cache op does not fit the group of its layer."""
    groups = [group for group in graph.cache if node.layer in group.layers]
    if len(groups) != 1:
        yield f"layer {node.layer} is in {len(groups)} cache groups; expected 1"
        return
    group = groups[0]
    found: dict[str, object] = {
        "kv_heads": axes.lengths.get("K", node.attributes.get("kv_heads")),
        "key_width": axes.lengths.get("D"),
        "value_width": axes.lengths.get("Dv"),
    }
    if "window" in node.attributes:
        found["window"] = node.attributes["window"]
    for field, value in found.items():
        expected = getattr(group, field)
        if value != expected:
            yield f"{field} is {value}; cache group {group.name} has {expected}"


def cache_faults(graph: Graph) -> Iterator[str]:
    """Groups that are malformed, layers written not once, and reads that do not follow their layer's write."""
    for group in graph.cache:
        yield from cache_group_faults(group)
    layers = Counter(layer for group in graph.cache for layer in group.layers)
    writes = Counter(node.layer for node in graph.nodes if writes_cache(node))
    for layer, count in sorted(layers.items()):
        if count > 1:
            yield f"cache layer {layer} is in {count} groups"
        if writes[layer] != 1:
            yield f"cache layer {layer} is written {writes[layer]} times; expected once"
    made_by = {name: node.layer for node in graph.nodes for name in node.outputs}
    for node in graph.nodes:
        if node.op in ("attention", "sink_attention") and len(node.inputs) == 2:
            written = made_by.get(node.inputs[1])
            if written != node.layer:
                yield f"{node.name}: reads layer {node.layer} after a write of layer {written}"


def cache_group_faults(group: CacheGroup) -> Iterator[str]:
    """What is wrong with a cache group by itself."""
    numbers = (group.kv_heads, group.key_width, group.value_width)
    if not group.layers or min(numbers) < 1 or (group.window is not None and group.window < 1):
        yield f"cache group {group.name} is malformed: {group}"


def writes_cache(node: Node) -> bool:
    """Whether a node writes its cache layer: by itself, or in a step of its decomposition."""
    spec = OPS.get(node.op)
    if spec is None or not spec.layered:
        return False
    return node.op == "kv_write" or any(step.op == "kv_write" for step in spec.decomposition)
