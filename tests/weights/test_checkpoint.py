"""Finding a model and reading its small files; each thing that can be wrong is named."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from dovetail.errors import CheckpointError
from dovetail.weights import GenerationDefaults, open_checkpoint
from dovetail.weights.hub import is_hub_id
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def refuse(model, **options):
    with pytest.raises(CheckpointError) as error:
        open_checkpoint(str(model), **options)
    return str(error.value)


def test_directory_is_read(directory):
    directory.json("tokenizer_config.json", {"bos_token": "<s>"})
    found = open_checkpoint(str(directory.path))
    assert found.directory == directory.path
    assert found.name == "model"
    assert found.config["architectures"] == ["LlamaForCausalLM"]
    assert found.generation == GenerationDefaults(eos_ids=(2,))
    assert found.tokenizer_file == directory.path / "tokenizer.json"
    assert found.tokenizer_config == {"bos_token": "<s>"}
    assert found.chat_template is None


@pytest.mark.parametrize(
    "model", ["./no/such", "/no/such/dir", "no-such", "~nobody-of-that-name/x"]
)
def test_directory_that_does_not_exist(model):
    assert f"{model} does not exist; give a Hugging Face directory" in refuse(model)


def test_model_names_that_name_nothing(directory):
    assert "'' names no model" in refuse("")
    assert "names no model" in refuse("a\0b")
    assert "does not exist" in refuse("x" * 10_000)
    assert "is a file" in refuse(directory.path / "config.json")


def test_revision_is_for_hub_ids(directory):
    assert "revision 'main' was given" in refuse(directory.path, revision="main")


def test_missing_config(directory):
    (directory.path / "config.json").unlink()
    assert f"{directory.path / 'config.json'} is missing" in refuse(directory.path)


@pytest.mark.defends(
    "hostile checkpoint files",
    "JSON is bounded in bytes and depth",
    without=("dovetail.weights.json_file", "if _deeper_than(value, MAX_DEPTH):", "if False:"),
)
@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer_config.json"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not valid JSON"),
        (b'{"a": }', "not valid JSON: Expecting value: line 1 column 7"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b"[]", "holds a JSON array, not an object"),
        (b"3", "holds a JSON number, not an object"),
        (b"null", "holds a JSON null, not an object"),
        (b'{"a": "\xff"}', "not UTF-8: byte 7 is wrong"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "nested more than 64 levels"),
        (b'{"a": 1, "a": 2}', "'a' is there twice"),
    ],
)
def test_damaged_json_is_named(directory, name, content, message):
    path = directory.path / name
    path.write_bytes(content)
    text = refuse(directory.path)
    assert str(path) in text
    assert message in text


@pytest.mark.defends(
    "hostile checkpoint files",
    "JSON is bounded in bytes and depth",
    without=("dovetail.weights.json_file", "if len(data) > max_bytes:", "if False:"),
)
def test_json_of_any_size_is_not_read(directory):
    with (directory.path / "config.json").open("wb") as file:
        file.truncate(1 << 40)  # sparse: nothing on the disk
    assert "config.json is larger than" in refuse(directory.path)


def test_json_that_is_a_directory(directory):
    (directory.path / "generation_config.json").mkdir()
    assert "generation_config.json cannot be read: Is a directory" in refuse(directory.path)


@pytest.mark.defends(
    "code in checkpoints",
    "weights are read from safetensors alone; pickles are refused by name",
    without=(
        "dovetail.weights.checkpoint",
        '(("*.bin", "pickle"), ("*.pt", "pickle"), ("*.pth", "pickle"))',
        "()",
    ),
)
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth"])
def test_pickles_are_refused(directory, name):
    (directory.path / "model.safetensors").rename(directory.path / name)
    text = refuse(directory.path)
    assert f"{name} is a pickle" in text
    assert "convert the model to safetensors" in text


def test_other_or_no_weights_are_named(directory):
    (directory.path / "model.safetensors").unlink()
    assert "has no *.safetensors" in refuse(directory.path)
    (directory.path / "model.gguf").touch()
    assert "GGUF is not read" in refuse(directory.path)


def test_missing_tokenizer(directory):
    (directory.path / "tokenizer.json").unlink()
    assert "tokenizer.json is missing; the model has no tokenizer" in refuse(directory.path)
    (directory.path / "tokenizer.model").touch()
    assert "only in an older form; convert it" in refuse(directory.path)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ("{{ messages }}", "{{ messages }}"),
        (None, None),
        ([], None),
        ([{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}], "D"),
        ([{"name": "tool_use", "template": "T"}], None),
    ],
)
def test_chat_template_of_the_tokenizer_config(directory, found, expected):
    directory.json("tokenizer_config.json", {"chat_template": found})
    assert open_checkpoint(str(directory.path)).chat_template == expected


def test_chat_template_file_wins(directory):
    directory.json("tokenizer_config.json", {"chat_template": "old"})
    (directory.path / "chat_template.jinja").write_text("new é")
    assert open_checkpoint(str(directory.path)).chat_template == "new é"


@pytest.mark.parametrize("found", [3, {"default": "x"}, ["x"], [{}], [{"name": "default"}]])
def test_chat_template_of_another_form_is_refused(directory, found):
    directory.json("tokenizer_config.json", {"chat_template": found})
    assert "tokenizer_config.json: chat_template" in refuse(directory.path)


@pytest.mark.parametrize(
    ("generation", "expected"),
    [
        ({}, GenerationDefaults(eos_ids=(2,))),
        ({"eos_token_id": None}, GenerationDefaults(eos_ids=(2,))),
        ({"eos_token_id": 7}, GenerationDefaults(eos_ids=(7,))),
        ({"eos_token_id": [7, 9, 7]}, GenerationDefaults(eos_ids=(7, 9))),
        (
            {"do_sample": True, "temperature": 0.7, "top_k": 20, "top_p": 0.8, "min_p": 0}
            | {"repetition_penalty": 1.05, "max_length": 4096, "transformers_version": "4.50"},
            GenerationDefaults(
                eos_ids=(2,),
                do_sample=True,
                temperature=0.7,
                top_k=20,
                top_p=0.8,
                min_p=0.0,
                repetition_penalty=1.05,
            ),
        ),
    ],
)
def test_generation_config(directory, generation, expected):
    directory.json("generation_config.json", generation)
    assert open_checkpoint(str(directory.path)).generation == expected


def test_eos_of_the_config_may_be_absent(directory):
    directory.json("config.json", {})
    assert open_checkpoint(str(directory.path)).generation.eos_ids == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("eos_token_id", "2"),
        ("eos_token_id", -1),
        ("eos_token_id", [True]),
        ("eos_token_id", 2**40),
        ("temperature", -1),
        ("temperature", "hot"),
        ("temperature", True),
        ("temperature", float("nan")),
        ("temperature", 10**400),
        ("top_p", 0),
        ("top_p", 1.5),
        ("min_p", float("inf")),
        ("repetition_penalty", 0),
        ("top_k", 1.5),
        ("top_k", -2),
        ("do_sample", "yes"),
    ],
)
def test_generation_config_with_a_wrong_field(directory, field, value):
    directory.json("generation_config.json", {field: value})
    text = refuse(directory.path)
    assert f"generation_config.json: {field} is" in text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
FIELDS = [field.name for field in dataclasses.fields(GenerationDefaults)]
NAMES = ["eos_token_id", "chat_template", "name", "template", *FIELDS]


@settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.sampled_from(["config.json", "generation_config.json", "tokenizer_config.json"]),
    content=st.dictionaries(st.sampled_from(NAMES), JSON) | JSON,
)
def test_any_json_is_read_or_refused(directory, name, content):
    directory.json(name, content)
    try:
        found = open_checkpoint(str(directory.path))
    except CheckpointError as error:
        assert name in str(error)
        return
    finally:
        directory.json(name, {})
    assert all(0 <= token < 2**31 for token in found.generation.eos_ids)
    assert found.chat_template is None or isinstance(found.chat_template, str)


def test_eos_of_the_config_with_a_wrong_value_names_its_own_file(directory):
    directory.json("config.json", {"eos_token_id": "x"})
    assert f"{directory.path}/config.json: eos_token_id is x" in refuse(directory.path)


@pytest.mark.parametrize(
    ("model", "expected"),
    [("org/name", True), ("a/b-1.5_x", True), ("name", False), ("a/b/c", False), ("../x", False)]
    + [("./x", False), ("/a/b", False), ("a/", False), ("a/..", False), ("~/x", False)],
)
def test_hub_id_form(model, expected):
    assert is_hub_id(model) == expected


def run_offline(tmp_path: Path, code: str) -> str:
    """Output of a fresh interpreter: the hub's library reads its environment when it is imported."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_hub_id_offline_says_the_way_out(tmp_path):
    text = run_offline(
        tmp_path,
        "from dovetail.weights import open_checkpoint\n"
        "from dovetail.errors import CheckpointError\n"
        "try: open_checkpoint('org/name', revision='v2')\n"
        "except CheckpointError as error: print(error)",
    )
    assert "org/name at revision 'v2' is not in the local cache" in text
    assert "HF_HUB_OFFLINE is set" in text


def test_hub_id_offline_is_read_from_the_cache(tmp_path, directory):
    cached = tmp_path / "hub" / "models--org--name"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("0123abc")
    (cached / "snapshots").mkdir()
    directory.path.rename(cached / "snapshots" / "0123abc")
    text = run_offline(
        tmp_path,
        "from dovetail.weights import open_checkpoint\n"
        "found = open_checkpoint('org/name'); print(found.name, found.generation.eos_ids)",
    )
    assert text.strip() == "org/name (2,)"


def test_directory_needs_no_hub_library(tmp_path, directory):
    text = run_offline(
        tmp_path,
        "import sys\nfrom dovetail.weights import open_checkpoint\n"
        f"open_checkpoint({str(directory.path)!r}); print('huggingface_hub' in sys.modules)",
    )
    assert text.strip() == "False"
