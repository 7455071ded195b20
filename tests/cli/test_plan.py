"""dovetail plan: its bytes are those the engine takes, and it needs no weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dovetail.cli.main import main
from dovetail.config import EngineConfig
from dovetail.engine.load import load_engine, prepare
from dovetail.engine.planning import Plan, plan
from dovetail.errors import ConfigError
from dovetail.weights.checkpoint import open_checkpoint, open_config
from dovetail.weights.source import open_source
from dovetail_sdk.testing.checkpoints import write_checkpoint


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("plan") / "model"
    return write_checkpoint(path, num_hidden_layers=3, intermediate_size=128)


def planned(model: Path, **settings) -> Plan:
    config = EngineConfig(model=str(model), max_num_seqs=4, max_num_batched_tokens=32, **settings)
    return plan(config, *open_config(config.model))


@pytest.mark.parametrize("platform", ["reference", "cpu"])
@pytest.mark.parametrize("quantization", [None, "int8", "int4"])
def test_bytes_are_those_of_the_engine(model: Path, platform: str, quantization: str | None):
    made = planned(model, platform=platform, quantization=quantization)
    config = EngineConfig(
        model=str(model), platform=platform, quantization=quantization, max_num_seqs=4
    )
    checkpoint = open_checkpoint(str(model))
    prepared = prepare(config, checkpoint)
    source = open_source(prepared.graph, checkpoint)
    read = sum(
        source.read(name, plane).nbytes
        for name in prepared.graph.weights
        for plane in source.planes(name)
    )
    prepared.device.close()
    assert made.weight_bytes == read
    assert made.weights == prepared.weights
    room = made.block_bytes * -(-made.max_model_len // made.block_size)
    for memory, missing in ((room + made.block_bytes, 0), (room + made.block_bytes - 1, 1)):
        sized = EngineConfig(**{**_fields(config), "kv_cache_memory": memory})
        engine = load_engine(sized, checkpoint)
        wanted = made.max_model_len // made.block_size + 1 - missing
        assert engine.info.num_blocks == wanted
        engine.close()


def _fields(config: EngineConfig) -> dict:
    return {name: getattr(config, name) for name in config.__dataclass_fields__}


def test_no_weights_are_needed(model: Path, tmp_path: Path):
    (tmp_path / "config.json").write_text((model / "config.json").read_text())
    bare = planned(tmp_path, platform="reference", quantization="int8")
    full = planned(model, platform="reference", quantization="int8")
    for field in ("weight_bytes", "block_bytes", "weights", "cache_form", "max_model_len"):
        assert getattr(bare, field) == getattr(full, field), field


def test_what_binds_is_said(model: Path):
    blocks = 5
    made = planned(model, platform="reference", max_model_len=64)
    small = planned(
        model,
        platform="reference",
        max_model_len=64,
        kv_cache_memory=blocks * made.block_bytes,
    )
    fit = small.fits[-1]
    assert fit.tokens == 64
    assert fit.sequences == blocks // -(-64 // small.block_size)
    assert fit.limit == ("memory" if fit.sequences < 4 else "--max-num-seqs")
    assert made.fits[-1].limit == "--max-num-seqs" and made.fits[-1].sequences == 4
    rates = made.rates
    assert min(rates.single, rates.batch, rates.prompt, rates.bandwidth, rates.operations) > 0
    with pytest.raises(ConfigError, match="kv-cache-memory"):
        planned(model, platform="reference", max_model_len=64, kv_cache_memory=1)


def test_the_command_prints_it_and_takes_json(model: Path, capsys):
    words = ["plan", str(model), "--platform", "reference", "--max-num-seqs", "2"]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "weights" in text and "tokens/s alone" in text and "limited by" in text
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["max_num_seqs"] == 2
