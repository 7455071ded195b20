"""A server that is given a hostile checkpoint ends with one line and status 1, in bounded memory."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest
from limited import HERE, limited

REFUSED = HERE / "corpus/refused"


def tokenizer(name: str) -> Callable[[Path], None]:
    """Puts one of the corpus in the place of the model's."""

    def put(folder: Path) -> None:
        shutil.copy(REFUSED / f"{name}.json", folder / "tokenizer.json")

    return put


def many_values(folder: Path) -> None:
    (folder / "config.json").write_text('{"a": [' + "[]," * 5_000_000 + "[]]}")


def long_template(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}" * 400 + "{% endfor %}" * 400
    )


def header_of_lists(folder: Path) -> None:
    header = b'{"a": [' + b"[]," * 6_000_000 + b"[]]}"
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)


def long_shard_name(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    shard = "x" * 5000 + ".safetensors"
    index = json.dumps({"weight_map": {"model.norm.weight": shard}})
    (folder / "model.safetensors.index.json").write_text(index)


@pytest.mark.defends(
    "hostile checkpoint files",
    "JSON is bounded in values, and a header's in those that it may hold",
    without=("dovetail.weights.json_file", "if values > MAX_VALUES:", "if False:"),
)
@pytest.mark.defends(
    "hostile checkpoint files",
    "tokenizer.json is checked part by part before the library that could abort reads it",
    without=(
        "dovetail.tokens.file",
        "                patterns += check_part(kept[name], name)\n",
        "",
    ),
)
@pytest.mark.defends(
    "hostile checkpoint files",
    "what merges of tokenizer.json make is looked up in its vocabulary first, for the library panics where one is too long",
    without=("dovetail.tokens.file", "    _check_merges(model)\n", ""),
)
@pytest.mark.parametrize(
    ("spoil", "file", "said"),
    [
        (tokenizer("charsmap_claims_four_gigabytes"), "tokenizer.json", "its trie claims"),
        (tokenizer("replace_doubles_again_and_again"), "tokenizer.json", "times as long"),
        (tokenizer("merge_longer_than_any_token"), "tokenizer.json", "makes 'aabb'"),
        (many_values, "config.json", "values or more"),
        (header_of_lists, "model.safetensors", "values or more"),
        (long_template, "chat_template.jinja", "not valid Jinja"),
        (long_shard_name, "xxxx", "cannot be read"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_one_line_and_status_1(
    spoil: Callable[[Path], None], file: str, said: str, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(str(resources.files("dovetail") / "bundled/demo"), folder)
    spoil(folder)
    done = limited(
        *("-m", "dovetail.cli.main", "serve", str(folder), "--platform", "null", "--port", "0"),
        memory_bytes=4 << 30,
        environment={**os.environ, "HOME": str(tmp_path)},
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and file in line and said in line, line
    assert len(line) < 1000
