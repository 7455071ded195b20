"""Small graphs that are nothing but weights in their uses."""

from __future__ import annotations

from dovetail.graph import F32, Graph, Node, Weight, WeightForm


def weight(name, shape, form=F32, parts=None):
    return Weight(name, tuple(shape), form, (name,) if parts is None else tuple(parts))


def graph(*weights, uses=None):
    """A graph of weights; uses: weight name -> (op, role), linear's weight where nothing is said."""
    uses = uses or {}
    nodes = []
    for item in weights:
        op, role = uses.get(item.name, ("linear", "weight"))
        nodes.append(Node(f"n.{item.name}", op, (), (), weights={role: item.name}))
    return Graph("test", "f32", (), tuple(nodes), {}, {item.name: item for item in weights}, {})


def int4(group):
    return WeightForm("int4_group", group=group)
