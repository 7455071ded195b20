"""What the cache asks of the places below it, where blocks go that it has no room for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from .prefix_tree import Key, Node


class Below(Protocol):
    """Knows blocks by the nodes that have them, or had them. What a record is, is its own business."""

    def published(self, node: Node) -> None:
        """A node has got a block that others may find."""

    def leaving(self, node: Node) -> None:
        """A node is about to lose its block: whoever takes it will overwrite it in the next step."""

    def following(
        self, node: Node, tokens: Sequence[int], start: int, limit: int
    ) -> Sequence[tuple[Key, Any]]:
        """What can be restored of the blocks that go on from a node with tokens[start:limit]: keys and records, in order."""

    def arriving(self, node: Node, record: Any) -> None:
        """A new node has a block, to be filled from a record before the next step."""
