"""A kernel, as the runner's table holds it, and the weights it is given once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dovetail.graph import Graph, Node, WeightForm
from dovetail.platform import F32, WeightSource

from dovetail_sdk.packing import read_f32

from .backend import Array, Backend, HostArray


class NodeWeights:
    """The weights of one node, for `Kernel.pack`. Roles are those of the op: "weight", "bias", "table".

    shared  arrays by place and name of the weight, over all nodes of a model: tied weights are kept once
    """

    def __init__(
        self,
        node: Node,
        graph: Graph,
        source: WeightSource,
        backend: Backend,
        shared: dict[tuple[str, str], Array],
    ) -> None:
        self.node, self.graph, self.backend = node, graph, backend
        self._source, self._shared = source, shared

    def __contains__(self, role: object) -> bool:
        return role in self.node.weights

    def form(self, role: str) -> WeightForm:
        """How its numbers are stored."""
        return self._source.spec(self.node.weights[role]).form

    def read(self, role: str, plane: str = "data") -> HostArray:
        """A plane on the host, never to be written to; see WeightForm for what is in it."""
        return self._source.read(self.node.weights[role], plane)

    def f32(self, role: str) -> F32:
        """The weight as f32 on the host, whatever its form; never to be written to."""
        name = self.node.weights[role]
        if ("host", name) not in self._shared:
            self._shared["host", name] = read_f32(self._source, name)
        weight: F32 = self._shared["host", name]
        return weight

    def once(self, role: str, what: str, make: Callable[[], Array]) -> Array:
        """What `make` returns, made for the first node that asks for it of this weight."""
        key = (f"own {what}", self.node.weights[role])
        if key not in self._shared:
            self._shared[key] = make()
        return self._shared[key]

    def array(self, role: str) -> Array:
        """The weight as f32 on the device, whatever its form."""
        name = self.node.weights[role]
        if ("device", name) not in self._shared:
            self._shared["device", name] = self.backend.upload(read_f32(self._source, name))
        return self._shared["device", name]


def anything(node: Node, graph: Graph) -> str | None:
    """The `supports` of a kernel without limits."""
    return None


def f32_arrays(weights: NodeWeights) -> Mapping[str, Any]:
    """The `pack` of a kernel that takes every weight as f32, by role."""
    return {role: weights.array(role) for role in weights.node.weights}


@dataclass(frozen=True, slots=True)
class Kernel:
    """How one op runs.

    name      for people: `dovetail explain` shows it for every node
    call      call(*inputs, **weights, **attributes) -> output, or a tuple of them; names as in the NumPy reference
              (dovetail_sdk.reference.ops). Ops that are `layered` also get cache=Layer and step=Step.
    supports  why a node cannot run here, None if it can; asked once, with real shapes
    pack      called once per node at load; what it returns replaces or joins the keyword arguments above
    revision  of the op that was implemented
    note      why this kernel, for people
    otherwise takes the nodes that `supports` refuses
    """

    name: str
    call: Callable[..., Any]
    supports: Callable[[Node, Graph], str | None] = anything
    pack: Callable[[NodeWeights], Mapping[str, Any]] = f32_arrays
    revision: int = 1
    note: str = ""
    otherwise: Kernel | None = None

    def fitting(self, node: Node, graph: Graph) -> tuple[Kernel | None, str]:
        """The kernel that runs a node and why, or None and why not."""
        refused = self.supports(node, graph)
        if refused is None:
            return self, self.note
        refused = f"{self.name}: {refused}"
        if self.otherwise is None:
            return None, refused
        found, reason = self.otherwise.fitting(node, graph)
        return found, f"{refused}; {reason}".removesuffix("; ")


def revisions(kernels: Mapping[str, Kernel]) -> dict[str, int]:
    """`Capabilities.ops` of a table."""
    return {op: kernel.revision for op, kernel in kernels.items()}
