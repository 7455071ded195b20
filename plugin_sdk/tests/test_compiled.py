"""Compiled kernels on disk: kept, told apart, and never trusted when damaged."""

import os
import threading

import pytest
from dovetail_sdk.compiled import CompiledCache, entry_name


class Compiler:
    """Counts its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self, source, options):
        self.calls += 1
        return f"{source}|{options}".encode()


def get(cache, compiler, source="kernel", options=("-O2",), version="cc 1", device="chip"):
    return cache.get(compiler, source, options=options, compiler=version, device=device)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "deep" / "cache"


def test_an_entry_is_compiled_once(folder):
    compiler = Compiler()
    first = get(CompiledCache(folder), compiler)
    assert get(CompiledCache(folder), compiler) == first and compiler.calls == 1
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o077 for path in folder.iterdir()] == [0]


@pytest.mark.parametrize(
    "other",
    [
        {"source": "kernel2"},
        {"options": ("-O2", "")},
        {"options": ()},
        {"options": ("-O", "2")},
        {"version": "cc 2"},
        {"device": "chip2"},
    ],
)
def test_everything_that_matters_is_in_the_key(folder, other):
    cache, compiler = CompiledCache(folder), Compiler()
    get(cache, compiler)
    get(cache, compiler, **other)
    assert compiler.calls == 2 and len(list(folder.iterdir())) == 2


def test_parts_of_a_key_do_not_run_together():
    assert entry_name("c", ("a", "b"), "x", "y") != entry_name("bc", ("a",), "x", "y")
    assert entry_name("s", (), "ab", "c") != entry_name("s", (), "a", "bc")


@pytest.mark.parametrize("damage", [b"", b"short", None, "flip", "cut"])
def test_a_damaged_entry_is_written_again(folder, damage):
    cache, compiler = CompiledCache(folder), Compiler()
    wanted = get(cache, compiler)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    if damage == "flip":
        damage = whole[:-1] + bytes([whole[-1] ^ 1])
    elif damage == "cut":
        damage = whole[:-1]
    path.write_bytes(damage or b"x" * len(whole))
    assert get(cache, compiler) == wanted and compiler.calls == 2
    assert path.read_bytes() == whole
    assert get(cache, compiler) == wanted and compiler.calls == 2


def test_a_folder_that_others_may_use_is_not_used(folder):
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    compiler = Compiler()
    cache = CompiledCache(folder)
    assert get(cache, compiler) == get(cache, compiler)
    assert compiler.calls == 2 and not list(folder.iterdir())


def test_a_link_in_place_of_the_folder_is_not_followed(folder, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    folder.parent.mkdir()
    folder.symlink_to(elsewhere)
    get(CompiledCache(folder), Compiler())
    assert not list(elsewhere.iterdir())


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path):
    (tmp_path / "file").write_text("")
    compiler = Compiler()
    assert get(CompiledCache(tmp_path / "file" / "cache"), compiler)
    assert compiler.calls == 1


def test_a_failed_write_leaves_nothing_behind(folder, monkeypatch):
    cache = CompiledCache(folder)
    monkeypatch.setattr(os, "replace", lambda *paths: (_ for _ in ()).throw(OSError("full")))
    assert get(cache, Compiler())
    assert not list(folder.iterdir())


def test_a_compiler_error_is_the_callers(folder):
    def fails(source, options):
        raise SyntaxError("line 1")

    with pytest.raises(SyntaxError, match="line 1"):
        get(CompiledCache(folder), fails)
    assert not list(folder.iterdir())


def test_threads_that_compile_the_same_agree(folder):
    cache, results = CompiledCache(folder), []
    threads = [
        threading.Thread(target=lambda: results.append(get(cache, Compiler()))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8 and len(set(results)) == 1 and len(list(folder.iterdir())) == 1
