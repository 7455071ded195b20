"""Whether a plugin's classes are what the contract says, found out before they are used.

A class is looked at once: a platform's when its entry point is loaded, the others when the first of their kind is had. In-tree
platforms get no other treatment. Nothing here calls a plugin.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from inspect import Parameter, Signature
from typing import Any, TypeVar
from weakref import WeakSet

from . import platform as contract
from .errors import PlatformBroken
from .platform import (
    Batch,
    BlockTransfer,
    Capabilities,
    Configurable,
    Device,
    DeviceOption,
    LoadedModel,
    Pending,
    Platform,
    Program,
    Shape,
    Ticket,
)

OPTIONAL: dict[type, tuple[type, ...]] = {
    LoadedModel: (BlockTransfer,),
    Platform: (Configurable,),
}
"""Kind -> groups of members of which a plugin has all or none."""

ATTRIBUTES: dict[str, type] = {
    "capabilities": Capabilities,
    "name": str,
    "options": tuple,
    "shape": Shape,
}
"""Attributes whose type is looked at."""

OPTION_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")

T = TypeVar("T", bound=Platform | Device | LoadedModel | Program | Pending | Ticket[Any])
_seen: WeakSet[type] = WeakSet()


@dataclass(frozen=True, slots=True)
class Member:
    """A public name of the contract.

    signature  of a method, without self; None for an attribute
    required   a class that lacks it is refused
    """

    name: str
    signature: Signature | None
    required: bool

    def __str__(self) -> str:
        if self.signature is None:
            return f"an attribute {self.name}"
        return f"{self.name}{_shown(self.signature)}"


def accepted_contracts() -> tuple[int, ...]:
    """The contracts that this core takes: its own and the one before."""
    return tuple(number for number in (contract.CONTRACT, contract.CONTRACT - 1) if number >= 1)


def check(thing: T, kind: type[T], plugin: str) -> T:
    """A plugin's object, once its class has been looked at. Raises PlatformBroken with all that is wrong."""
    made = type(thing)
    if made not in _seen:
        problems = problems_of_class(kind, made)
        if not problems:
            problems = _problems_of_instance(kind, thing)
        _refuse(plugin, problems)
        _seen.add(made)
    return thing


def check_class(kind: type, made: object, plugin: str) -> None:
    """Look at a class that has no object yet. Raises PlatformBroken with all that is wrong."""
    _refuse(plugin, problems_of_class(kind, made))


def problems_of_class(kind: type, made: object) -> list[str]:
    """What is wrong with a class that should implement `kind`, a line each, members and expected signatures named."""
    if not (isinstance(made, type) and issubclass(made, kind)):
        name = made.__qualname__ if isinstance(made, type) else repr(made)
        return [f"{name} is not a subclass of dovetail.platform.{kind.__name__}"]
    known = _known(kind)
    public = {name for name in dir(made) if not name.startswith("_")}
    problems = [_stranger(made, name, known) for name in sorted(public - known.keys())]
    for name, member in known.items():
        if name in getattr(made, "__abstractmethods__", ()):
            problems.append(f"{made.__qualname__} lacks {name}; the contract has {member}")
        elif name in public:
            problems += _changed(made, member)
    return problems


class Watched(Program):
    """A program whose first step shows what its steps are; afterwards `run` is the plugin's own."""

    def __init__(self, program: Program, plugin: str) -> None:
        self.shape = program.shape
        self._program = program
        self._plugin = plugin

    def run(self, batch: Batch) -> Pending:
        pending = check(self._program.run(batch), Pending, self._plugin)  # type: ignore[type-abstract]
        self.run = self._program.run  # type: ignore[method-assign]
        return pending


def _problems_of_instance(kind: type, thing: Any) -> list[str]:
    """What only an object shows: attributes that its constructor made, and the capabilities."""
    known, made = _known(kind), type(thing)
    own = {name for name in getattr(thing, "__dict__", {}) if not name.startswith("_")}
    problems = [_stranger(made, name, known) for name in sorted(own - known.keys())]
    problems += [
        f"{made.__qualname__} lacks {member}"
        for member in known.values()
        if member.required and member.signature is None and not hasattr(thing, member.name)
    ]
    if problems:
        return problems
    for name in sorted(known.keys() & ATTRIBUTES.keys()):
        if not hasattr(thing, name):  # an optional one
            continue
        value, expected = getattr(thing, name), ATTRIBUTES[name]
        if not isinstance(value, expected):
            problems.append(
                f"{made.__qualname__}.{name} is a {type(value).__name__}, not a {expected.__name__}"
            )
        elif isinstance(value, Capabilities):
            problems += [f"{made.__qualname__}.{name}: {line}" for line in value.incoherent()]
        elif name == "options" and isinstance(value, tuple):
            problems += [f"{made.__qualname__}.options: {line}" for line in _misdeclared(value)]
    return problems + _halves(kind, made, {*dir(made), *own})


def _misdeclared(options: tuple[object, ...]) -> list[str]:
    """What is wrong with the options that a platform declares."""
    found: list[str] = []
    names = [option.name for option in options if isinstance(option, DeviceOption)]
    for option in options:
        if not isinstance(option, DeviceOption):
            found.append(f"{option!r:.80} is no DeviceOption")
        elif not OPTION_NAME.fullmatch(option.name):
            found.append(
                f"{option.name!r} is no name of lower-case letters, digits and underscores"
            )
        elif names.count(option.name) > 1:
            found.append(f"{option.name} is declared twice")
        elif not option.values and option.low > option.high:
            found.append(f"{option.name} takes no value: it has no words, and low is above high")
    return list(dict.fromkeys(found))


def _halves(kind: type, made: type, present: Iterable[str]) -> list[str]:
    """Groups of optional members of which some are missing."""
    found, present = [], set(present)
    for group in OPTIONAL.get(kind, ()):
        members = _members(group, required=False)
        missing = [member for name, member in members.items() if name not in present]
        if 0 < len(missing) < len(members):
            lacks = " and ".join(map(str, missing))
            found.append(f"{made.__qualname__} has part of {group.__name__} and lacks {lacks}")
    return found


@cache
def _known(kind: type) -> dict[str, Member]:
    """Every public name of a kind, optional ones included."""
    known = _members(kind, required=True)
    for group in OPTIONAL.get(kind, ()):
        known |= _members(group, required=False)
    return known


def _members(kind: type, *, required: bool) -> dict[str, Member]:
    found = {}
    for name in inspect.get_annotations(kind):
        if not name.startswith("_"):
            found[name] = Member(name, None, required and name not in vars(kind))
    for name, value in vars(kind).items():
        if inspect.isfunction(value) and not name.startswith("_"):
            found[name] = Member(name, _bound(inspect.signature(value)), required)
    return found


def _changed(made: type, member: Member) -> list[str]:
    """A member that is there under its name and is something else."""
    where = f"{made.__qualname__}.{member.name}"
    value = inspect.getattr_static(made, member.name)
    plain = value.__func__ if isinstance(value, classmethod | staticmethod) else value
    if member.signature is None:
        return [f"{where} is a method; the contract has {member}"] if callable(plain) else []
    if not callable(plain):
        return [f"{where} is no method; the contract has {member}"]
    if inspect.iscoroutinefunction(plain):
        return [f"{where} is async; the contract has {member}, which returns at once"]
    try:
        found = inspect.signature(plain)
    except (TypeError, ValueError):  # compiled code that does not tell
        return []
    if not isinstance(value, staticmethod):
        found = _bound(found)
    if _comparable(found) == _comparable(member.signature):
        return []
    return [f"{where} is {member.name}{_shown(found)}; the contract has {member}"]


def _stranger(made: type, name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    hint = f"did you mean {close[0]}?" if close else "names of its own begin with an underscore"
    return f"{made.__qualname__}.{name} is not in the contract ({hint})"


def _bound(signature: Signature) -> Signature:
    """As called on an object."""
    return signature.replace(parameters=list(signature.parameters.values())[1:])


def _comparable(signature: Signature) -> list[tuple[str, Any, Any]]:
    return [(p.name, p.kind, p.default) for p in signature.parameters.values()]


def _shown(signature: Signature) -> str:
    """For people: annotations as they are written."""
    bare = [
        parameter.replace(annotation=Parameter.empty)
        if not isinstance(parameter.annotation, str)
        else parameter
        for parameter in signature.parameters.values()
    ]
    returns = (
        signature.return_annotation
        if isinstance(signature.return_annotation, str)
        else Signature.empty
    )
    return str(Signature(bare, return_annotation=returns)).replace("'", "")


def _refuse(plugin: str, problems: list[str]) -> None:
    if problems:
        raise PlatformBroken(
            f"the plugin of platform {plugin} breaks the contract: {'; '.join(problems)}"
        )
