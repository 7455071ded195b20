"""How a graph is divided over the members of a mesh, as data that `passes.shard` makes.

One graph is annotated. A platform that runs one program on many devices reads the annotations; one that has a process
per device takes each member's view, `graph.local(rank)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Section:
    """Consecutive places along an axis that are divided by themselves: the rows of q in a matrix of q, k and v.

    parts  equal ones. With fewer parts than members, as many members in a row hold the same one: key heads of which
           there are fewer than devices.
    """

    length: int
    parts: int

    @property
    def local(self) -> int:
        """Places that a member holds."""
        return self.length // self.parts

    def first(self, rank: int, members: int) -> int:
        """The first place, counted from the section's own, that a member holds."""
        return rank * self.parts // members * self.local


@dataclass(frozen=True, slots=True)
class Split:
    """An array of which a member holds a part of every section of one axis, one after the other."""

    axis: int
    sections: tuple[Section, ...]

    @property
    def local(self) -> int:
        """Length of the axis on a member."""
        return sum(section.local for section in self.sections)

    def __str__(self) -> str:
        return f"axis {self.axis}: " + " + ".join(f"{s.length}/{s.parts}" for s in self.sections)

    def even(self, members: int) -> bool:
        """Whether members hold consecutive equal pieces, in order: what a partitioner's axis annotation can say."""
        return len(self.sections) == 1 and self.sections[0].parts == members

    def slices(self, rank: int, members: int) -> tuple[slice, ...]:
        """What a member holds, along the axis of the whole array."""
        found, start = [], 0
        for section in self.sections:
            first = start + section.first(rank, members)
            found.append(slice(first, first + section.local))
            start += section.length
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Sharding:
    """The division of one graph.

    members  devices of the mesh
    weights  name -> its split: axis 0 of a matrix is column-parallel (or vocabulary-parallel), axis 1 row-parallel.
             What is not named is whole on every member.
    once     biases of row-parallel products, which the first member alone adds; a single program adds them as they are
    values   name -> its split, always along the axis after T. What is not named is whole on every member.
    heads    cache group -> the split of its key heads. What is not named is whole on every member.
    """

    members: int
    weights: Mapping[str, Split] = field(default_factory=dict)
    once: frozenset[str] = frozenset()
    values: Mapping[str, Split] = field(default_factory=dict)
    heads: Mapping[str, Split] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("weights", "values", "heads"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
