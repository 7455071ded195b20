"""The tier on disk: what is read back is what was written, whatever happened to the files in between."""

from __future__ import annotations

import os
import random
import resource
import signal

import numpy as np
import pytest
from dovetail.errors import ConfigError
from dovetail.tiers import open_disk
from dovetail.tiers.block_file import file_bytes
from dovetail.tiers.names import Record, child_name, root_identity, root_name
from hypothesis import given, settings
from hypothesis import strategies as st

WIDTH = 256
ROOM = 1 << 20


def record_of(number: int, width: int = WIDTH) -> Record:
    rng = np.random.default_rng(number)
    parent = root_name(root_identity("tests"), (str(number),))
    tokens = tuple(rng.integers(0, 1 << 31, 16).tolist())
    return Record(child_name(parent, tokens), parent, tokens, rng.integers(0, 256, width, np.uint8))


def same(left: Record | None, right: Record) -> bool:
    return left is not None and (left.name, left.parent, left.tokens, left.data.tobytes()) == (
        right.name,
        right.parent,
        right.tokens,
        right.data.tobytes(),
    )


@pytest.mark.defends(
    "cache directories",
    "directories are 0700 and files 0600",
    without=(
        "dovetail.tiers.disk",
        "path.parent.mkdir(mode=0o700, exist_ok=True)",
        "path.parent.mkdir(exist_ok=True)",
    ),
)
def test_what_is_written_is_read_by_this_engine_and_the_next(tmp_path):
    records = [record_of(number) for number in range(20)]
    tier = open_disk(tmp_path / "kv", ROOM, WIDTH)
    assert all(tier.write(record) for record in records)
    assert all(same(tier.read(record.name), record) for record in records)
    tier.close()
    again = open_disk(tmp_path / "kv", ROOM, WIDTH)
    again.scan()
    assert len(again) == 20 and again.used == 20 * file_bytes(16, WIDTH)
    assert all(same(again.read(record.name), record) for record in records)
    modes = {os.stat(folder).st_mode & 0o777 for folder, _, _ in os.walk(tmp_path / "kv")}
    assert modes == {0o700}


@pytest.mark.defends(
    "cache directories",
    "a file is believed only if its checksum is right",
    without=(
        "dovetail.tiers.block_file",
        "if _checksum(name, parent, (view[_HEAD.size :],)) != checksum:",
        "if False:",
    ),
)
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_file_is_never_read(tmp_path_factory, data):
    directory = tmp_path_factory.mktemp("damage")
    tier, record = open_disk(directory / "kv", ROOM, WIDTH), record_of(1)
    tier.write(record)
    (path,) = (directory / "kv").glob("*/*.kv")
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(content) - 1))
            content[at] ^= data.draw(st.integers(1, 255))
    if bytes(content) == path.read_bytes():
        return  # the same bits were turned twice
    path.write_bytes(content)
    assert tier.read(record.name) is None and tier.errors == 1
    assert not path.exists() and not tier.contains(record.name) and tier.used == 0
    assert tier.write(record) and same(tier.read(record.name), record)
    tier.close()


@pytest.mark.defends(
    "cache directories",
    "a file says what it holds, and its checksum covers that",
    without=[
        ("dovetail.tiers.block_file", "if found != name:", "if False:"),
        (
            "dovetail.tiers.block_file",
            "hashlib.blake2b(key=name + parent, digest_size=16)",
            "hashlib.blake2b(digest_size=16)",
        ),
    ],
)
def test_a_file_under_another_name_is_not_that_block(tmp_path):
    tier, one, other = open_disk(tmp_path, ROOM, WIDTH), record_of(1), record_of(2)
    tier.write(one)
    tier.write(other)
    os.replace(tier._path(one.name), tier._path(other.name))
    assert tier.read(other.name) is None and tier.read(one.name) is None


@pytest.mark.defends(
    "the disk is full or lies",
    "files have a size together, and the least recently used make room",
    without=(
        "dovetail.tiers.disk",
        "while self.used + size > self.capacity and self._sizes:",
        "while False:",
    ),
)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_it_never_holds_more_than_its_size_and_keeps_what_was_used_last(tmp_path_factory, seed):
    rng = random.Random(seed)
    most = rng.randint(1, 6)
    directory = tmp_path_factory.mktemp("size")
    tier = open_disk(directory, most * file_bytes(16, WIDTH), WIDTH)
    used: list[int] = []
    for _ in range(40):
        number = rng.randrange(12)
        if rng.random() < 0.5:
            assert tier.write(record_of(number))
            if number in used[-most:]:
                continue
            used.append(number)
        elif tier.read(record_of(number).name) is not None:
            used.remove(number)
            used.append(number)
        kept = set(used[-most:])
        used = used[-most:]
        assert {n for n in range(12) if tier.contains(record_of(n).name)} == kept
        files = [path.stat().st_size for path in directory.glob("*/*")]
        assert sum(files) == tier.used <= tier.capacity
    tier.close()


@pytest.mark.defends(
    "cache directories",
    "a directory that is another's or open to others is not used",
    without=(
        "dovetail.tiers.disk",
        "if facts.st_uid != os.geteuid() or stat.S_IMODE(facts.st_mode) & 0o077:",
        "if False:",
    ),
)
def test_one_engine_at_a_time_and_no_one_else(tmp_path):
    first = open_disk(tmp_path / "kv", ROOM, WIDTH)
    with pytest.raises(ConfigError, match="another engine uses"):
        open_disk(tmp_path / "kv", ROOM, WIDTH)
    first.close()
    open_disk(tmp_path / "kv", ROOM, WIDTH).close()
    (tmp_path / "kv").chmod(0o755)
    with pytest.raises(ConfigError, match="chmod 700"):
        open_disk(tmp_path / "kv", ROOM, WIDTH)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be used"):
        open_disk(tmp_path / "file", ROOM, WIDTH)


@pytest.mark.defends(
    "the disk is full or lies",
    "a write that fails leaves nothing behind, and the disk is left alone for a while",
    without=(
        "dovetail.tiers.disk",
        "            with contextlib.suppress(OSError):\n                new.unlink(missing_ok=True)\n            self._failed",
        "            self._failed",
    ),
)
def test_a_write_that_fails_leaves_nothing_and_is_not_tried_again_at_once(tmp_path):
    tier, records = open_disk(tmp_path, ROOM, WIDTH), [record_of(number) for number in range(3)]
    tier.write(records[0])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
        assert not tier.write(records[1])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert tier.errors == 1 and not tier.write(records[2])
    assert [path.name for path in tmp_path.glob("*/*")] == [f"{records[0].name.hex()}.kv"]
    assert same(tier.read(records[0].name), records[0])


@pytest.mark.defends(
    "cache directories",
    "files get their names when they are whole; what was left in the making is taken away",
    without=("dovetail.tiers.disk", 'if entry.name.startswith("."):', "if False:"),
)
def test_files_that_an_engine_left_half_written_and_strangers_are_left_out(tmp_path):
    tier, record = open_disk(tmp_path, ROOM, WIDTH), record_of(1)
    tier.write(record)
    folder = tier._path(record.name).parent
    half = folder / f".{record_of(2).name.hex()}.kv"
    half.write_bytes(b"half")
    (folder / "notes.txt").write_text("mine")
    (folder / f"{'z' * 64}.kv").write_text("not a name")
    tier.close()
    again = open_disk(tmp_path, ROOM, WIDTH)
    again.scan()
    assert len(again) == 1 and not half.exists() and (folder / "notes.txt").exists()
