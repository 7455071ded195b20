"""Who may ask, and how much: limits of keys, administrators, caches of one's own, pages of other sites, HTTPS."""

from __future__ import annotations

import hmac
import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from dovetail.errors import ConfigError
from dovetail.server.access import Access, Allowance, Bucket, RateLimited, digest_of, read_keys

from tests.waiting import until

from .conftest import Running

CHAT = "/v1/chat/completions"
BODY = {"messages": [{"role": "user", "content": "word " * 60}], "max_tokens": 4, "seed": 1}
KEYS = f"""
[[key]]
name = "few"
key = "few-key"
requests_per_minute = 2

[[key]]
name = "short"
key = "short-key"
tokens_per_minute = 100

[[key]]
name = "own"
sha256 = "{digest_of(b"own-key").hex()}"
salt = true

[[key]]
name = "shared"
key = "shared-key"
"""


@pytest.fixture(scope="module")
def limited(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with keys of every kind, an administrator, and one site whose pages may use it."""
    path = tmp_path_factory.mktemp("keys") / "keys.toml"
    path.write_text(KEYS)
    access = Access(read_keys(path), (digest_of(b"admin-key"),))
    running = Running(checkpoint, access=access, origins=("https://app.example",))
    yield running
    running.stop()


def ask(server: Any, key: str, method: str = "POST", path: str = CHAT, body: Any = BODY) -> Any:
    """Status, headers and JSON of one exchange with a key."""
    named = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    status, headers, data = server.raw(method, path, json.dumps(body).encode(), named)
    return status, headers, json.loads(data)


def test_requests_per_minute(limited: Running) -> None:
    left = []
    for _ in range(2):
        status, headers, _ = ask(limited, "few-key")
        assert status == 200 and headers["x-ratelimit-limit-requests"] == "2"
        left.append(headers["x-ratelimit-remaining-requests"])
    assert left == ["1", "0"]
    status, headers, answer = ask(limited, "few-key")
    assert status == 429 and 1 <= int(headers["retry-after"]) <= 30
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert answer["error"]["code"] == "rate_limit_exceeded" and "few" in answer["error"]["message"]
    assert "few-key" not in answer["error"]["message"]
    assert ask(limited, "few-key", "GET", "/v1/models")[0] == 200  # costs nothing
    with limited.client(api_key="few-key") as client, pytest.raises(openai.RateLimitError):
        client.completions.create(model="tiny", prompt="x")


def test_tokens_per_minute(limited: Running) -> None:
    seen = []
    while (got := ask(limited, "short-key"))[0] == 200:
        seen.append(got[2]["usage"]["total_tokens"])
    assert got[0] == 429 and "tokens" in got[2]["error"]["message"]
    assert len(seen) == 1 and seen[0] > 100  # it needed the whole minute's, and overdrew
    assert int(got[1]["retry-after"]) > 60


@pytest.mark.defends(
    "prefixes of other tenants",
    "what a key can push out of the cache is bounded by its tokens per minute",
    without=("dovetail.server.access", "        if bucket.left < wanted:\n", "        if False:\n"),
)
def test_requests_side_by_side_cannot_overdraw_together() -> None:
    now = [0.0]
    allowance = Allowance("a", tokens=Bucket(60, lambda: now[0]))
    first = allowance.reserve(40)
    with pytest.raises(RateLimited, match="20 left of its 60") as error:
        allowance.reserve(30)
    assert error.value.retry_after_s == pytest.approx(10)
    allowance.settle(first, 5)
    assert allowance.reserve(30) == 30
    now[0] = 1e6
    assert allowance.reserve(1000) == 60  # all of a minute's, and no more is asked of it
    with pytest.raises(RateLimited):
        allowance.reserve(1)


def test_a_bucket_fills_by_the_minute() -> None:
    now = [0.0]
    bucket = Bucket(60, lambda: now[0])
    allowance = Allowance("a", tokens=bucket)
    allowance.admit()
    allowance.settle(allowance.reserve(60), 90)
    with pytest.raises(RateLimited) as error:
        allowance.admit()
    assert error.value.retry_after_s == pytest.approx(31)
    now[0] = 31
    allowance.admit()
    now[0] = 1e6
    assert bucket.left == 60


@pytest.mark.defends(
    "prefixes of other tenants",
    "a key with a salt shares no prefix with others",
    without=("dovetail.server.access", 'owner if self.salt else ""', '""'),
)
def test_a_salted_key_shares_no_prefix(limited: Running) -> None:
    def cached(key: str, word: str) -> int:
        body = {**BODY, "messages": [{"role": "user", "content": word * 80}]}
        count: int = ask(limited, key, body=body)[2]["usage"]["prompt_tokens_details"][
            "cached_tokens"
        ]
        return count

    assert cached("shared-key", "tree ") < cached("shared-key", "tree ")
    assert cached("own-key", "tree ") < 8
    assert cached("own-key", "tree ") > 40
    assert cached("own-key", "leaf ") < 8 and cached("shared-key", "leaf ") < 8


@pytest.mark.defends(
    "prefixes of other tenants",
    "what is kept for one key does not exist for another",
    without=(
        "dovetail.server.kept",
        "        self._forget()\n        entry =",
        "        owner = next((o for o, n in self._entries if n == name), owner)\n        entry =",
    ),
)
def test_what_is_kept_belongs_to_the_key(limited: Running) -> None:
    made = ask(
        limited, "own-key", path="/v1/responses", body={"input": "x", "max_output_tokens": 2}
    )
    place = f"/v1/responses/{made[2]['id']}"
    assert ask(limited, "own-key", "GET", place)[0] == 200
    for method, path in (("GET", place), ("DELETE", place), ("GET", f"{place}/input_items")):
        assert ask(limited, "shared-key", method, path)[0] == 404
    body = {"input": "y", "previous_response_id": made[2]["id"]}
    assert ask(limited, "shared-key", path="/v1/responses", body=body)[0] == 404


@pytest.mark.defends(
    "administration and paths",
    "without an admin key there are no such routes",
    without=("dovetail.server.app", "*(ADMIN if access.admin else ())", "*ADMIN"),
)
@pytest.mark.defends(
    "administration and paths",
    "what administrates takes keys of its own",
    without=(
        "dovetail.server.gate",
        "if key is not None and self._access.is_admin(key):",
        "if key is not None:",
    ),
)
def test_administrators_have_keys_of_their_own(limited: Running, server: Running) -> None:
    assert ask(server, "admin-key", "GET", "/admin/log-level")[0] == 404  # there is no such key
    for key in ("own-key", "", "wrong"):
        for method, path in (("GET", "/admin/log-level"), ("DELETE", "/admin/responses")):
            assert ask(limited, key, method, path)[0] == 401
    assert ask(limited, "admin-key", "GET", "/v1/models")[0] == 401
    before = logging.getLogger("dovetail").level
    try:
        assert ask(limited, "admin-key", "PUT", "/admin/log-level", {"level": "error"})[0] == 200
        assert ask(limited, "admin-key", "GET", "/admin/log-level")[2] == {"level": "error"}
        assert ask(limited, "admin-key", "PUT", "/admin/log-level", {"level": "loud"})[0] == 400
    finally:
        logging.getLogger("dovetail").setLevel(before)
    made = ask(
        limited, "own-key", path="/v1/responses", body={"input": "x", "max_output_tokens": 2}
    )
    assert ask(limited, "admin-key", "DELETE", "/admin/responses")[2]["count"] >= 1
    assert ask(limited, "own-key", "GET", f"/v1/responses/{made[2]['id']}")[0] == 404


@pytest.mark.defends(
    "pages of other sites",
    "no site's pages may read answers unless it is named",
    without=("dovetail.server.gate", "allow_origins=tuple(origins),", 'allow_origins=("*",),'),
)
def test_pages_of_other_sites(limited: Running, server: Running) -> None:
    def preflight(of: Running, origin: str) -> tuple[int, str | None]:
        named = {"origin": origin, "access-control-request-method": "POST"}
        status, headers, _ = of.raw("OPTIONS", CHAT, headers=named)
        return status, headers.get("access-control-allow-origin")

    assert preflight(limited, "https://app.example") == (200, "https://app.example")
    assert preflight(limited, "https://evil.example")[1] is None
    assert preflight(server, "https://app.example")[1] is None
    named = {"origin": "https://app.example", "authorization": "Bearer own-key"}
    headers = limited.raw("GET", "/v1/models", headers=named)[1]
    assert headers["access-control-allow-origin"] == "https://app.example"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "at least one"),
        ("[[key]]", "name is missing"),
        ('[[key]]\nname = "a"', "either key or sha256"),
        ('[[key]]\nname = "a"\nkey = "x"\nsha256 = "y"', "either key or sha256"),
        ('[[key]]\nname = "a"\nsha256 = "y"', "64 hexadecimal"),
        ('[[key]]\nname = "a"\nkey = " "', "not blank"),
        ('[[key]]\nname = "a"\nkey = "secret"\nsalt = 1', "true or false"),
        ('[[key]]\nname = "a"\nkey = "secret"\ntokens_per_minute = 0', "from 1 on"),
        ('[[key]]\nname = "a"\nkey = "secret"\nrequests_per_minute = true', "from 1 on"),
        ('[[key]]\nname = "a"\nkey = "secret"\nlimit = 3', "'limit' is none of"),
        ('[[key]]\nname = "a"\nkey = "s"\n[[key]]\nname = "b"\nkey = "s"', "of one key"),
        ("key = secret", "not valid TOML"),
    ],
)
def test_a_file_of_keys_that_is_wrong_is_refused_without_telling_a_key(
    tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words) as error:
        read_keys(path)
    assert "secret" not in str(error.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_keys(tmp_path / "none.toml")


@pytest.mark.defends(
    "bodies and slow clients",
    "a client that does not read what waits for it is let go",
    without=(
        "dovetail.server.protocol",
        "self._stall = self.loop.call_later(self.stall_timeout_s, self.transport.abort)",
        "self._stall = None",
    ),
)
def test_a_client_that_never_reads_is_let_go(endless: Path) -> None:
    running = Running(endless, stall_timeout_s=0.2)
    try:
        body = {
            "prompt": "x",
            "max_tokens": 900_000,
            "ignore_eos": True,
            "stream": True,
            "logprobs": 5,
        }
        data = json.dumps(body).encode()
        head = "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        with socket.create_connection(("127.0.0.1", running.port)) as connection:
            connection.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
            until(
                "the client that does not read is let go",
                lambda: running.metric("request_success_total", finished_reason="cancelled") >= 1,
            )
        assert running.metric("generation_tokens_total") < 900_000
        assert running.metric("kv_cache_usage_perc") == 0
    finally:
        running.stop()


@pytest.mark.parametrize(
    "text",
    [
        "key = " + "[\n" * 20_000 + "]" * 2000,
        ".".join(["a"] * 30_000) + " = 1",
        "key = " + "{a=" * 1000 + "1" + "}" * 1000,
        "[[key]]\nname = 'a'\nkey = 'b'\ntokens_per_minute = " + "9" * 4090,
        "#\n" * (1 << 20),
        "\udc80",
    ],
    ids=["arrays", "dots", "tables", "digits", "long", "bytes"],
)
def test_a_hostile_file_of_keys_is_refused_by_name(tmp_path, text):
    path = tmp_path / "keys.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match="keys.toml"):
        read_keys(path)


@pytest.mark.defends(
    "access without a key",
    "a key is compared with every one there is, by digests of one length and in constant time",
    without=(
        "dovetail.server.access",
        "            if hmac.compare_digest(digest, known.digest):\n",
        "            if digest == known.digest:\n",
    ),
)
@pytest.mark.parametrize(
    "key", [b"first", b"second", b"third", b"none", b"", "\xe9".encode() * 5000]
)
def test_every_key_takes_the_same_comparisons(monkeypatch: pytest.MonkeyPatch, key: bytes) -> None:
    compared = []
    same = hmac.compare_digest

    def noted(given: bytes, known: bytes) -> bool:
        compared.append((len(given), len(known)))
        return same(given, known)

    monkeypatch.setattr(hmac, "compare_digest", noted)
    access = Access.of(("first", "second", "third"), ("admin",))
    found = access.caller(key)
    assert (found is not None) == (key in (b"first", b"second", b"third"))
    assert compared == [(32, 32)] * 3
    assert not access.is_admin(key) and compared == [(32, 32)] * 4
