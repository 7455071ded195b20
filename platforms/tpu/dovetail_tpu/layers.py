"""Layers that are alike: the longest stretch of a graph that repeats itself, to be compiled once and run in a loop.

Nothing is known of names: two nodes are alike if they do the same to values that were made equally far back, with
weights of the same shape and form, on the same cache group.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dovetail.graph import Graph

MARKS = ("kv_write", "attention_write", "whole_attention")
"""One of these is in every layer: their distances are the periods to try."""
LONGEST_PATTERN = 8
"""Most layers in a pattern (five with a window and one without is six)."""

Source = tuple[str, str] | tuple[int, int]
"""Where a value is from: ("input", its name), or how many nodes back and which output of that node."""


@dataclass(frozen=True, slots=True)
class Run:
    """Nodes start .. start + period * repeats are `repeats` times the same.

    carried   (node of the period, output) whose value of one repeat is used in the next, or after the last
    weights   (node of the period, role) -> the weight's name in each repeat
    layers    node of the period -> cache group, place of its layer in the group in the first repeat, and how
              far the place moves in each repeat
    """

    start: int
    period: int
    repeats: int
    carried: tuple[tuple[int, int], ...]
    weights: Mapping[tuple[int, str], tuple[str, ...]]
    layers: Mapping[int, tuple[int, int, int]]

    @property
    def end(self) -> int:
        """The node behind the run."""
        return self.start + self.period * self.repeats


def find_run(graph: Graph) -> Run | None:
    """The run that covers the most nodes; None where nothing repeats."""
    producers = _producers(graph)
    signatures = [_signature(graph, index, producers) for index in range(len(graph.nodes))]
    best: Run | None = None
    for period in _periods(graph):
        run = _longest(graph, signatures, period)
        if run is not None and (
            best is None or run.period * run.repeats > best.period * best.repeats
        ):
            best = run
    return best


def sources(graph: Graph, index: int, producers: Mapping[str, tuple[int, int]]) -> list[Source]:
    """Where each input of a node is from."""
    found: list[Source] = []
    for name in graph.nodes[index].inputs:
        made = producers.get(name)
        found.append(("input", name) if made is None else (index - made[0], made[1]))
    return found


def _producers(graph: Graph) -> dict[str, tuple[int, int]]:
    return {
        name: (index, place)
        for index, node in enumerate(graph.nodes)
        for place, name in enumerate(node.outputs)
    }


def _signature(graph: Graph, index: int, producers: Mapping[str, tuple[int, int]]) -> Any:
    node = graph.nodes[index]
    weights = sorted(
        (role, graph.weights[name].shape, str(graph.weights[name].form))
        for role, name in node.weights.items()
    )
    group = None if node.layer is None else graph.group_of(node.layer)
    attributes = sorted(node.attributes.items())
    return node.op, repr(attributes), weights, group, sources(graph, index, producers)


def _periods(graph: Graph) -> list[int]:
    marks = [index for index, node in enumerate(graph.nodes) if node.op in MARKS]
    found = {
        later - marks[at]
        for at in range(len(marks))
        for later in marks[at + 1 : at + 1 + LONGEST_PATTERN]
    }
    return sorted(found)


def _longest(graph: Graph, signatures: Sequence[Any], period: int) -> Run | None:
    """The longest run of a period, moved back where values would leave it from its middle."""
    same = [a == b for a, b in zip(signatures, signatures[period:], strict=False)]
    best = (0, 0)
    start = 0
    for index, equal in enumerate([*same, False]):
        if not equal:
            best = max(best, (index - start, -start))
            start = index + 1
    length, start = best[0], -best[1]
    repeats = length // period + 1
    return _checked(graph, start, period, repeats) if repeats > 1 else None


def _checked(graph: Graph, start: int, period: int, repeats: int) -> Run | None:
    """The run, unless it cannot be a loop."""
    carried = _carried(graph, start, period, repeats)
    weights = _weights(graph, start, period, repeats)
    layers = _layers(graph, start, period, repeats)
    if carried is None or weights is None or layers is None:
        return None
    return Run(start, period, repeats, carried, weights, layers)


def _carried(
    graph: Graph, start: int, period: int, repeats: int
) -> tuple[tuple[int, int], ...] | None:
    """Values that outlive a repeat; None where one is used more than a repeat later, or leaves from the middle."""
    producers = _producers(graph)
    end, last = start + period * repeats, start + period * (repeats - 1)
    found: set[tuple[int, int]] = set()
    for index in range(start, end):
        for source in sources(graph, index, producers):
            if isinstance(source[0], int) and isinstance(source[1], int):
                place = (index - start) % period - source[0]
                if place < -period or (place < 0 and start + place < 0):
                    return None
                if place < 0:
                    found.add((place + period, source[1]))
    after = [name for node in graph.nodes[end:] for name in node.inputs]
    for name in (*after, *graph.outputs.values()):
        made = producers.get(name)
        if made is not None and start <= made[0] < end:
            if made[0] < last:
                return None
            found.add((made[0] - last, made[1]))
    return tuple(sorted(found))


def _weights(
    graph: Graph, start: int, period: int, repeats: int
) -> dict[tuple[int, str], tuple[str, ...]] | None:
    """Names by node and role; None where a weight is used twice."""
    uses = Counter(name for node in graph.nodes for name in node.weights.values())
    found = {}
    for place in range(period):
        nodes = [graph.nodes[start + place + period * repeat] for repeat in range(repeats)]
        for role in nodes[0].weights:
            names = tuple(node.weights[role] for node in nodes)
            if any(uses[name] > 1 for name in names):
                return None
            found[place, role] = names
    return found


def _layers(
    graph: Graph, start: int, period: int, repeats: int
) -> dict[int, tuple[int, int, int]] | None:
    """Places of cache layers; None where they do not move evenly."""
    found = {}
    for place in range(period):
        layers = [graph.nodes[start + place + period * repeat].layer for repeat in range(repeats)]
        if layers[0] is None:
            continue
        group = graph.group_of(layers[0])
        order = graph.cache[group].layers
        places = [order.index(layer) for layer in layers if layer is not None]
        step = places[1] - places[0]
        if any(b - a != step for a, b in zip(places, places[1:], strict=False)):
            return None
        found[place] = (group, places[0], step)
    return found
