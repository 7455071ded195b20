"""Put on PYTHONPATH by proof.py, and by nothing else: modules are loaded with a text in them replaced.

WITHOUT in the environment holds [[module, old, new], ...] as JSON. Every process that inherits the environment is
affected, so also servers and engines that a test starts.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType


class _Edited(SourceFileLoader):
    """Loads a module's text as it would be without a defence."""

    def get_source(self, fullname: str) -> str:
        text = importlib.util.decode_source(self.get_data(self.path))
        for module, old, new in EDITS:
            if module == self.name:
                if text.count(old) != 1:
                    raise ImportError(
                        f"{module} holds {old!r} {text.count(old)} times and not once"
                    )
                text = text.replace(old, new)
        return text

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = compile(self.get_source(fullname), self.path, "exec", dont_inherit=True)
        return code


class _Finder:
    """Finds the modules that are edited, before anybody else does."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if all(name != module for module, _, _ in EDITS):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Edited(name, spec.loader.path)
        return spec


EDITS: list[tuple[str, str, str]] = json.loads(os.environ.get("WITHOUT", "[]"))
sys.meta_path.insert(0, _Finder)
