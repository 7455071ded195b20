"""Who may ask, and how much: API keys, what each is allowed per minute, and whose cached prefixes are shared.

A file of keys is TOML; `key` or `sha256` (64 hexadecimal digits of the key's SHA-256), the rest is optional:

    [[key]]
    name = "alice"
    sha256 = "..."
    requests_per_minute = 60
    tokens_per_minute = 100000
    salt = true     # its cached prefixes are its own
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dovetail.errors import ConfigError, Overloaded

_HEX = re.compile(r"[0-9a-fA-F]{64}")
_FIELDS = {"name", "key", "sha256", "requests_per_minute", "tokens_per_minute", "salt"}
MINUTE_S = 60.0
TURN_DIGITS = 16  # of a key's digest: enough to tell keys apart
MAX_PER_MINUTE = 1 << 40
MAX_FILE_BYTES = 1 << 20
MAX_LINE = 4096  # the parser's memory grows with the square of a dotted key


class RateLimited(Overloaded):
    """A key has used up what it is allowed per minute."""


class Bucket:
    """So many per minute: what is unused grows to that many and no further; one take may overdraw it."""

    __slots__ = ("_at_s", "_clock", "_left", "limit")

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._left = float(limit)
        self._clock = clock
        self._at_s = clock()

    @property
    def left(self) -> float:
        """As of now."""
        now = self._clock()
        self._left = min(self.limit, self._left + (now - self._at_s) * self.limit / MINUTE_S)
        self._at_s = now
        return self._left

    def take(self, count: float) -> None:
        """Use so many, whether they are there or not."""
        self._left = self.left - count

    def wait_s(self, count: float) -> float:
        """Seconds until so many are there."""
        return max(0.0, (count - self.left) * MINUTE_S / self.limit)


@dataclass(slots=True)
class Allowance:
    """What a key may still do; None where there is no limit."""

    name: str
    requests: Bucket | None = None
    tokens: Bucket | None = None

    def admit(self) -> None:
        """One more request; raises RateLimited. Its tokens are reserved once they are known: debts are waited for."""
        for bucket, what in ((self.requests, "requests"), (self.tokens, "tokens")):
            if bucket is not None and bucket.left < 1:
                raise RateLimited(
                    f"the key {self.name!r} has used its {bucket.limit} {what} per minute; try again later",
                    retry_after_s=bucket.wait_s(1),
                )
        if self.requests is not None:
            self.requests.take(1)

    def reserve(self, most: int) -> int:
        """Set aside what a request may use at most, a minute's worth for one that may use more; raises RateLimited.

        Returns what was set aside, for `settle`: requests that run side by side cannot overdraw together.
        """
        bucket = self.tokens
        if bucket is None:
            return 0
        wanted = min(most, bucket.limit)
        if bucket.left < wanted:
            raise RateLimited(
                f"the request may use {most} tokens, prompt and output together, and the key {self.name!r} has "
                f"{max(0, int(bucket.left))} left of its {bucket.limit} tokens per minute; ask for fewer, or try again later",
                retry_after_s=bucket.wait_s(wanted),
            )
        bucket.take(wanted)
        return wanted

    def settle(self, reserved: int, used: int) -> None:
        """The request has ended, and used so many tokens."""
        if self.tokens is not None:
            self.tokens.take(used - reserved)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """OpenAI's x-ratelimit-*."""
        found = []
        for bucket, what in ((self.requests, b"requests"), (self.tokens, b"tokens")):
            if bucket is not None:
                left, reset_s = max(0, int(bucket.left)), bucket.wait_s(bucket.limit)
                found.append((b"x-ratelimit-limit-" + what, b"%d" % bucket.limit))
                found.append((b"x-ratelimit-remaining-" + what, b"%d" % left))
                found.append((b"x-ratelimit-reset-" + what, b"%.3fs" % reset_s))
        return found


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request it is.

    owner  what is kept for the caller is kept under this
    turn   the engine lets callers take turns by this; empty where there is nobody to take turns with
    salt   separates its cached prefixes; empty to share them with everybody
    name   of the key, for the log
    """

    owner: str = ""
    salt: str = ""
    allowance: Allowance | None = None
    turn: str = ""
    name: str = ""


# the caller of the request that this task answers; whoever submits work reads it
CALLER: ContextVar[Caller] = ContextVar("caller", default=Caller())  # noqa: B039  # it is frozen


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key, known by its SHA-256 alone."""

    name: str
    digest: bytes
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    salt: bool = False

    @classmethod
    def plain(cls, name: str, key: str) -> Key:
        """Without limits."""
        return cls(name=name, digest=digest_of(key.encode()))

    def caller(self, *, alone: bool) -> Caller:
        """Whoever brings it; alone: there is no other key."""
        requests, tokens = (
            Bucket(limit) if limit is not None else None
            for limit in (self.requests_per_minute, self.tokens_per_minute)
        )
        allowance = Allowance(self.name, requests, tokens)
        owner = self.digest.hex()
        turn = "" if alone else owner[:TURN_DIGITS]
        return Caller(owner, owner if self.salt else "", allowance, turn, self.name)


@dataclass(slots=True)
class Access:
    """All keys.

    admin  digests of keys for what only an administrator may do
    """

    keys: tuple[Key, ...] = ()
    admin: tuple[bytes, ...] = ()
    _callers: dict[bytes, Caller] = field(init=False)

    def __post_init__(self) -> None:
        self._callers = {key.digest: key.caller(alone=len(self.keys) == 1) for key in self.keys}

    @classmethod
    def of(cls, keys: Iterable[str] = (), admin: Iterable[str] = ()) -> Access:
        """Plain keys."""
        named = (Key.plain(f"key-{i}", key) for i, key in enumerate(keys, start=1))
        return cls(tuple(named), tuple(digest_of(key.encode()) for key in admin))

    def caller(self, key: bytes) -> Caller | None:
        """Who brings this key; compared with every one, in constant time and whatever the lengths."""
        digest = digest_of(key)
        found = None
        for known in self.keys:
            if hmac.compare_digest(digest, known.digest):
                found = self._callers[known.digest]
        return found

    def is_admin(self, key: bytes) -> bool:
        """Whether it is an administrator's; in constant time."""
        digest = digest_of(key)
        return sum(hmac.compare_digest(digest, known) for known in self.admin) > 0


def digest_of(key: bytes) -> bytes:
    """What is remembered of a key."""
    return hashlib.sha256(key).digest()


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys of a file. Raises ConfigError that names the entry at fault and never a key."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1).decode()
        if len(text) > MAX_FILE_BYTES or any(len(line) > MAX_LINE for line in text.splitlines()):
            raise ConfigError(
                f"{path} has more than {MAX_FILE_BYTES} bytes, or a line of more than {MAX_LINE} characters"
            )
        table = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError):  # not TOML, not UTF-8, too many digits, nested too deeply
        raise ConfigError(f"{path} is not valid TOML") from None
    entries = table.get("key")
    if not isinstance(entries, list) or not entries or set(table) != {"key"}:
        raise ConfigError(f"{path} must consist of [[key]] entries, at least one")
    keys = tuple(_key(entry, f"{path}: key {i}") for i, entry in enumerate(entries, start=1))
    if len({key.digest for key in keys}) < len(keys) or len({k.name for k in keys}) < len(keys):
        raise ConfigError(f"{path} holds two entries of one name, or of one key")
    return keys


def _key(entry: Mapping[str, Any], place: str) -> Key:
    if unknown := set(entry) - _FIELDS:
        raise ConfigError(f"{place}: {min(unknown)!r} is none of {', '.join(sorted(_FIELDS))}")
    name, plain, digest = entry.get("name"), entry.get("key"), entry.get("sha256")
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{place}: name is missing")
    if (plain is None) == (digest is None):
        raise ConfigError(f"{place} ({name}): give either key or sha256")
    if plain is not None and (not isinstance(plain, str) or not plain.strip()):
        raise ConfigError(f"{place} ({name}): key must be a text that is not blank")
    if digest is not None and (not isinstance(digest, str) or not _HEX.fullmatch(digest)):
        raise ConfigError(f"{place} ({name}): sha256 must be 64 hexadecimal digits")
    if not isinstance(entry.get("salt", False), bool):
        raise ConfigError(f"{place} ({name}): salt must be true or false")
    return Key(
        name=name,
        digest=digest_of(plain.encode()) if plain is not None else bytes.fromhex(str(digest)),
        requests_per_minute=_limit(entry, "requests_per_minute", f"{place} ({name})"),
        tokens_per_minute=_limit(entry, "tokens_per_minute", f"{place} ({name})"),
        salt=entry.get("salt", False),
    )


def _limit(entry: Mapping[str, Any], field_name: str, place: str) -> int | None:
    value = entry.get(field_name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_PER_MINUTE:
        raise ConfigError(f"{place}: {field_name} must be a whole number from 1 on")
    return value
