"""Settings by flag, environment and file."""

from __future__ import annotations

from pathlib import Path

import pytest
from dovetail.cli.options import ENGINE, SERVER
from dovetail.cli.settings import merge
from dovetail.cli.values import size
from dovetail.config import EngineConfig
from dovetail.errors import ConfigError
from dovetail.server.serve import ServerConfig


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "dovetail.toml"
    path.write_text(
        'model = "file"\nport = 1\nmax-num-seqs = 4\nkv_cache_memory = "1G"\n'
        'api-key = ["a", "b"]\nenable-prefix-caching = false\n'
    )
    return path


def test_a_flag_beats_the_environment_which_beats_the_file(file: Path) -> None:
    environment = {"DOVETAIL_PORT": "2", "DOVETAIL_MAX_NUM_SEQS": "5", "DOVETAIL_CONFIG": str(file)}
    settings = merge({"port": 3}, environment=environment)
    assert settings.server.port == 3
    assert settings.engine.max_num_seqs == 5
    assert settings.engine.model == "file"
    assert settings.engine.kv_cache_memory == 1 << 30
    assert settings.server.api_key == ("a", "b")
    assert settings.engine.enable_prefix_caching is False


def test_nothing_set_is_the_default() -> None:
    settings = merge({}, environment={})
    assert settings.engine == EngineConfig() and settings.server == ServerConfig()


def test_every_option_is_a_field() -> None:
    for option in ENGINE:
        assert hasattr(EngineConfig(), option.name)
    for option in SERVER:
        assert hasattr(ServerConfig(), option.name)


def test_types_may_be_named_as_elsewhere() -> None:
    assert merge({"dtype": "bfloat16"}, environment={}).engine.dtype == "bf16"


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("1024", 1024), ("512M", 512 << 20), ("4G", 4 << 30), ("1.5GiB", 3 << 29), ("2kb", 2048)],
)
def test_sizes(text: str, bytes_: int) -> None:
    assert size(text) == bytes_


def test_the_log_level_is_merged_as_all_else(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('log-level = "info"')
    environment = {"DOVETAIL_CONFIG": str(path)}
    assert merge({}, environment={}).log_level == "warning"
    assert merge({}, environment=environment).log_level == "info"
    environment["DOVETAIL_LOG_LEVEL"] = "debug"
    assert merge({}, environment=environment).log_level == "debug"
    assert merge({"log_level": "error"}, environment=environment).log_level == "error"


def test_an_empty_key_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^DOVETAIL_API_KEY is '': it must not be empty$"):
        merge({}, environment={"DOVETAIL_API_KEY": ""})
    with pytest.raises(ConfigError, match="^DOVETAIL_API_KEY is '': it"):  # and tells no other key
        merge({}, environment={"DOVETAIL_API_KEY": "secret, "})
    path = tmp_path / "x.toml"
    for text in ('api-key = ["secret", ""]', 'api-key = ""'):
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"x\.toml: api-key is '': it must not be empty"):
            merge({"config": path}, environment={})


@pytest.mark.parametrize("seed", [-(2**63), 2**64 - 1])
def test_seeds_are_what_requests_take(seed: int) -> None:
    assert merge({}, environment={"DOVETAIL_SEED": str(seed)}).engine.seed == seed
    beyond = str(seed * 2)
    with pytest.raises(ConfigError, match=f"DOVETAIL_SEED is '{beyond}': it must be at"):
        merge({}, environment={"DOVETAIL_SEED": beyond})


@pytest.mark.parametrize("text", ["", "x", "-1", "4X", "0", "nan", "1e9"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        size(text)


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("DOVETAIL_PORT", "http"),
        ("DOVETAIL_PORT", "70000"),
        ("DOVETAIL_MAX_NUM_SEQS", "0"),
        ("DOVETAIL_KV_CACHE_MEMORY", "much"),
        ("DOVETAIL_ENABLE_PREFIX_CACHING", "perhaps"),
        ("DOVETAIL_QUANTIZATION", "int3"),
    ],
)
def test_a_wrong_variable_is_named(variable: str, text: str) -> None:
    with pytest.raises(ConfigError, match=f"{variable} is '{text}'"):
        merge({}, environment={variable: text})


def test_a_variable_that_means_nothing_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    merge({}, environment={"DOVETAIL_PROT": "1"})
    assert "did you mean DOVETAIL_PORT?" in capsys.readouterr().err


def test_a_key_that_means_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("prot = 1")
    with pytest.raises(ConfigError, match=r"'prot' is no setting \(did you mean port\?\)"):
        merge({"config": path}, environment={})


@pytest.mark.parametrize(
    "text", ["port = ", "port = [1]", "port = {a = 1}", "[port]\na = 1", "\xff"]
)
def test_a_file_that_is_wrong_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"x\.toml"):
        merge({"config": path}, environment={})
    with pytest.raises(ConfigError, match="cannot be read"):
        merge({"config": tmp_path / "none.toml"}, environment={})


def test_hosts_to_answer_to_come_from_flag_and_environment():
    assert merge({"allowed_host": ("a", "b")}, environment={}).server.allowed_host == ("a", "b")
    named = merge({}, environment={"DOVETAIL_ALLOWED_HOST": "chat.lan, other"})
    assert named.server.allowed_host == ("chat.lan", "other")
