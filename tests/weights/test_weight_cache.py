"""Quantised weights on disk: the same numbers, noticed damage, bounded size, and never a start that fails for it."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch
from dovetail.errors import CheckpointError, ConfigError
from dovetail.graph import FP8, INT8, WeightForm
from dovetail.weights import identity, open_checkpoint, open_source, plane_file
from dovetail.weights.plane_file import Layout, sum_of
from dovetail.weights.quantise import QUANTISER, quantise
from dovetail.weights.weight_cache import WeightCache, default_directory
from safetensors.torch import load_file

from .graphs import graph, weight

INT4 = WeightForm("int4_group", group=32)
WEIGHTS = (
    weight("first", (33, 64), INT8),
    weight("third", (21, 64), FP8),
    weight("both", (80, 96), INT4, parts=("upper", "lower")),
    weight("plain", (64,)),
)


@pytest.fixture(autouse=True)
def settled(monkeypatch):
    monkeypatch.setattr(identity, "SETTLED_S", 0.0)


@pytest.fixture
def model(directory, rng):
    shapes = {
        "first": (33, 64),
        "third": (21, 64),
        "upper": (48, 96),
        "lower": (32, 96),
        "plain": (64,),
    }
    directory.tensors(
        {n: rng.standard_normal(s).astype(ml_dtypes.bfloat16) for n, s in shapes.items()}
    )
    return directory


@pytest.fixture
def cache(tmp_path):
    return WeightCache(tmp_path / "kept", least_bytes=0)


def read(model, cache: WeightCache | None) -> dict[str, np.ndarray]:
    """Every plane, after the source was closed."""
    source = open_source(graph(*WEIGHTS), open_checkpoint(str(model.path)), cache=cache)
    found = {
        f"{each.name}.{plane}": np.array(source.read(each.name, plane))
        for each in WEIGHTS
        for plane in source.planes(each.name)
    }
    source.close()
    return found


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[n], other[n]) for n in one)


def files(cache: WeightCache) -> list[Path]:
    return sorted(cache.directory.iterdir())


@pytest.mark.defends(
    "cache directories",
    "directories are 0700 and files 0600",
    without=(
        "dovetail.weights.plane_file",
        "os.open(self._temporary, flags, 0o600)",
        "os.open(self._temporary, flags, 0o644)",
    ),
)
def test_a_second_start_maps_what_the_first_has_quantised(model, cache, monkeypatch):
    plain = read(model, None)
    first = read(model, cache)
    monkeypatch.setattr("dovetail.weights.source.quantise", None)  # not called again
    second = read(model, cache)
    assert same(first, plain) and same(second, plain)
    (path,) = files(cache)
    assert path.stat().st_mode & 0o777 == 0o600
    assert cache.directory.stat().st_mode & 0o777 == 0o700


def test_planes_lie_where_kernels_can_read_them_and_the_package_reads_the_file(model, cache):
    plain = read(model, cache)
    (path,) = files(cache)
    stored = load_file(path)
    for name in plain.keys() - {"plain.data"}:
        found = stored[name].view(torch.uint8).numpy()  # NumPy has no fp8 by itself
        assert np.array_equal(found, plain[name].view(np.uint8))
    layout = Layout(path.stem, WEIGHTS[:-1])
    assert layout.size == path.stat().st_size
    assert all(place.offset % 64 == 0 for place in layout.places.values())


@pytest.mark.defends(
    "cache directories",
    "a file is believed only if its checksum is right",
    without=("dovetail.weights.plane_file", "if not good:", "if False:"),
)
@pytest.mark.parametrize("harm", ["flip", "zero", "swap", "cut", "grow", "empty", "header", "sums"])
def test_damage_is_noticed_told_once_and_mended(model, cache, caplog, harm):
    plain = read(model, cache)
    (path,) = files(cache)
    whole = path.read_bytes()
    data = bytearray(whole)
    if harm == "flip":
        data[4096 + 1234] ^= 1
    elif harm == "zero":
        data[4096 : 4096 + 512] = bytes(512)
    elif harm == "swap":
        data[4096:4160], data[5120:5184] = data[5120:5184], data[4096:4160]
    elif harm == "header":
        data[100] ^= 1
    elif harm == "sums":
        data[-1] ^= 1
    path.write_bytes({"cut": data[:-1], "grow": data + b"0", "empty": b""}.get(harm, data))
    assert same(read(model, cache), plain)
    told = [r for r in caplog.records if r.levelname == "WARNING"]
    assert len(told) == 1 and str(path) in told[0].getMessage()
    assert path.read_bytes() == whole
    caplog.clear()
    read(model, cache)
    assert not [r for r in caplog.records if r.levelname == "WARNING"]


def test_another_content_form_or_version_is_another_file(model, cache, rng, monkeypatch):
    read(model, cache)
    (before,) = files(cache)
    path = model.path / "model.safetensors"
    facts = path.stat()
    data = bytearray(path.read_bytes())
    data[-40] ^= 1  # one bit of one weight, in place, and the old time set back
    path.write_bytes(data)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert same(read(model, cache), read(model, None))
    assert len(files(cache)) == 2 and before in files(cache)
    monkeypatch.setattr("dovetail.weights.weight_cache.QUANTISER", QUANTISER + 1)
    read(model, cache)
    assert len(files(cache)) == 3


def test_what_was_written_just_now_is_not_kept(model, cache, monkeypatch):
    monkeypatch.setattr(identity, "SETTLED_S", 3600.0)
    read(model, cache)
    assert not cache.directory.exists()


@pytest.mark.defends(
    "the disk is full or lies",
    "a start goes on without what it could not keep",
    without=(
        "dovetail.weights.quantised",
        '        except OSError as error:\n            log.warning("the weight cache',
        '        except ZeroDivisionError as error:\n            log.warning("the weight cache',
    ),
)
def test_a_full_disk_harms_no_start(model, cache, monkeypatch, caplog):
    plain = read(model, None)
    real = os.pwrite
    room = [3000]

    def pwrite(file, data, offset):
        room[0] -= len(data)
        if room[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, data, offset)

    monkeypatch.setattr(plane_file.os, "pwrite", pwrite)
    assert same(read(model, cache), plain)
    assert "No space left" in caplog.text
    assert files(cache) == []
    monkeypatch.undo()


def test_the_least_recently_used_makes_room(model, cache):
    read(model, cache)
    (own,) = files(cache)
    size = own.stat().st_size
    for age, name in ((300, "old"), (200, "older"), (100, "new")):
        path = cache.directory / f"{name}.safetensors"
        path.write_bytes(bytes(size))
        os.utime(path, (1e9 - age, 1e9 - age))
    stale = cache.directory / ".left.over"
    stale.write_bytes(b"")
    os.utime(stale, (1e9, 1e9))
    own.unlink()
    cache.limit_bytes = 2 * size
    read(model, cache)
    assert [path.name for path in files(cache)] == sorted(["new.safetensors", own.name])
    cache.limit_bytes = size - 1
    own.unlink()
    read(model, cache)
    assert not own.exists()


def test_a_hit_is_a_use(model, cache):
    read(model, cache)
    (own,) = files(cache)
    os.utime(own, (1e9, 1e9))
    read(model, cache)
    assert own.stat().st_mtime > 1e9


@pytest.mark.defends(
    "cache directories",
    "a directory that is another's or open to others is not used",
    without=(
        "dovetail.weights.weight_cache",
        "if facts.st_uid != os.geteuid() or stat.S_IMODE(facts.st_mode) & 0o022:",
        "if False:",
    ),
)
@pytest.mark.parametrize("mode", [0o777, 0o720])
def test_a_directory_that_others_may_write_is_not_trusted(model, cache, caplog, mode):
    cache.directory.mkdir()
    cache.directory.chmod(mode)
    assert same(read(model, cache), read(model, None))
    assert files(cache) == [] and "writable for others" in caplog.text


def test_a_link_in_the_place_of_a_file_is_not_followed(model, cache):
    plain = read(model, cache)
    (own,) = files(cache)
    own.rename(cache.directory / "elsewhere")
    own.symlink_to("elsewhere")
    assert same(read(model, cache), plain)


def test_starts_at_the_same_time_do_not_harm_each_other(model, cache):
    plain = read(model, None)
    found: list[dict[str, np.ndarray]] = []
    threads = [threading.Thread(target=lambda: found.append(read(model, cache))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6 and all(same(each, plain) for each in found)
    assert len(files(cache)) == 1


def test_a_weight_that_cannot_be_quantised_leaves_nothing_behind(directory, cache):
    array = np.ones((4, 32), np.float32)
    array[2, 5] = np.nan
    directory.tensors({"w": array, "v": np.ones((4, 32), np.float32)})
    wanted = graph(weight("w", (4, 32), INT8), weight("v", (4, 32), INT8))
    source = open_source(wanted, open_checkpoint(str(directory.path)), cache=cache)
    with pytest.raises(CheckpointError, match="row 2 holds NaN"):
        source.read("w")
    assert source.read("v").shape == (4, 32)
    source.close()
    assert files(cache) == []


def test_the_setting(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert WeightCache.named("off") is None
    for setting, wanted in ((None, tmp_path / "dovetail" / "weights"), (str(tmp_path), tmp_path)):
        made = WeightCache.named(setting)
        assert made is not None and made.directory == wanted
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the specification: to be ignored
    assert default_directory() == Path.home() / ".cache" / "dovetail" / "weights"
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="which is a file"):
        WeightCache.named(str(tmp_path / "file"))


def test_the_digest_sees_every_bit_and_the_order_of_pages(rng):
    data = rng.integers(0, 256, 3 * 4096 + 77, np.uint8)
    wanted = sum_of(data)
    for at in (0, 5000, len(data) - 1):
        other = data.copy()
        other[at] ^= 128
        assert sum_of(other) != wanted
    swapped = data.copy()
    swapped[:4096], swapped[4096:8192] = data[4096:8192], data[:4096]
    assert sum_of(swapped) != wanted
    assert sum_of(np.concatenate([[np.uint8(0)], data])[1:]) == wanted  # wherever it lies


def test_the_version_of_the_quantiser_stands_for_its_results(rng):
    """If this fails, what quantise makes has changed: raise QUANTISER and put the new sums here."""
    matrix = np.random.default_rng(1).standard_normal((40, 128), np.float32)
    sums = {
        str(form): [
            sum_of(plane)
            for plane in quantise(lambda r: matrix[r].copy(), (40, 128), form).values()
        ]
        for form in (INT8, FP8, INT4)
    }
    assert (QUANTISER, sums) == (1, SUMS)


SUMS = {
    "int8": [10517882972897662463, 2066688752559517332],
    "fp8": [11826394323625930298, 10787498147034906323],
    "int4g32": [17973161293035503003, 3787365301883930600, 14772401422401200507],
}
