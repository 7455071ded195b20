"""Keeps secrets out of what people paste into bug reports: known ones wherever they stand, and what looks like one."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

HIDDEN = "(hidden)"
SECRET_NAME = re.compile(r"KEY|TOKEN|PASS|SECRET|CREDENTIAL|AUTH|COOKIE|HEADERS", re.IGNORECASE)
NOT_SECRET = frozenset({"api_key_file", "ssl_keyfile"})  # paths, which a report needs
MIN_SECRET = 4  # characters: shorter ones are everywhere
_USER = re.compile(r"(?<=://)[^/\s@]+@")
_QUERY = re.compile(r"(?<=[?&;])([\w.~-]+)=[^&;\s'\"#]+")
_TOKEN = re.compile(r"\b(?:hf_|sk-|ghp_|github_pat_|glpat-|xox[a-z]-|AKIA)[\w-]{8,}", re.ASCII)
_BEARER = re.compile(r"\b(Bearer|Basic) +\S+", re.IGNORECASE)


def is_secret(name: str) -> bool:
    """Whether what goes by this name is nobody else's business."""
    return SECRET_NAME.search(name) is not None and name.lower() not in NOT_SECRET


def secrets_in(variables: Mapping[str, str], path: Path | None) -> set[str]:
    """The secrets of the environment and of a settings file, which need not be a valid one."""
    found = {value for name, value in variables.items() if is_secret(name)}
    found |= {part.strip() for value in found for part in value.split(",")}
    if path is not None:
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # what cannot be read is not told either
            table = {}
        found |= set(_texts(v for name, v in table.items() if is_secret(name.replace("-", "_"))))
    return {secret for secret in found if len(secret) >= MIN_SECRET}


def _texts(values: Iterable[Any]) -> Iterable[str]:
    for value in values:
        if isinstance(value, list):
            yield from _texts(value)
        elif isinstance(value, dict):
            yield from _texts(value.values())
        else:
            yield str(value)


def masked(story: Any, secrets: Iterable[str]) -> Any:
    """A story of objects, lists and texts with everything hidden that may be a secret."""
    longest_first = sorted(secrets, key=len, reverse=True)

    def mask(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: mask(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [mask(inner) for inner in value]
        return _mask_text(value, longest_first) if isinstance(value, str) else value

    return mask(story)


def _mask_text(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    text = _USER.sub(f"{HIDDEN}@", text)
    text = _QUERY.sub(rf"\1={HIDDEN}", text)
    text = _BEARER.sub(rf"\1 {HIDDEN}", text)
    return _TOKEN.sub(HIDDEN, text)
