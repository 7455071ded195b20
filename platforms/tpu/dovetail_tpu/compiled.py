"""Programs, compiled once for equal graphs and shapes: models, and tests, that are alike share them."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Generic, TypeVar

import jax
from dovetail.graph import Graph

A = TypeVar("A")


class Programs(Generic[A]):
    """The programs used last, by what they were made for. Any thread may ask."""

    def __init__(self, most: int = 256) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, A] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], A]) -> A:
        """The program, made if it is not there; two threads may both make it."""
        found = self.find(key)
        if found is None:
            found = make()
            with self._lock:
                self._kept[key] = found
                while len(self._kept) > self._most:
                    self._kept.popitem(last=False)
        return found

    def find(self, key: Hashable) -> A | None:
        """The program if it is there."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found


def fingerprint(graph: Graph) -> str:
    """Equal for graphs that compute the same with the same names."""
    text = repr(
        (
            graph.dtype,
            graph.inputs,
            [
                (n.op, n.inputs, n.outputs, dict(n.attributes), dict(n.weights), n.layer)
                for n in graph.nodes
            ],
            [(w.name, w.shape, str(w.form)) for w in graph.weights.values()],
            dict(graph.outputs),
            graph.cache,
        )
    )
    return hashlib.sha256(text.encode()).hexdigest()


def keep_on_disk(folder: Path) -> bool:
    """Have JAX keep what it compiled there; False, and nothing kept, unless the folder can be the user's alone."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
    except OSError:
        return False
    if status.st_mode & 0o077 or (hasattr(os, "getuid") and status.st_uid != os.getuid()):
        return False
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    return True


def cache_folder() -> Path:
    """dovetail/jax in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "dovetail" / "jax"
