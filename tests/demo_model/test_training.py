"""Packing, schedule and export of the bundled model's training, on tiny shapes."""

import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from ci.demo_model import packing, train  # noqa: E402  the scripts are no installed package
from ci.demo_model.model import DemoModel, Shape  # noqa: E402
from ci.demo_model.packing import IGNORED, Piece  # noqa: E402

TINY = Shape(
    vocab_size=96,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=32,
    max_position_embeddings=256,
)


def piece(size, first=0):
    return Piece(np.arange(first, first + size, dtype=np.uint16), np.arange(size) % 3 == 2)


def test_rows_hold_every_piece_once_and_never_overflow():
    rng = random.Random(1)
    pieces = [piece(rng.randint(5, 900)) for _ in range(300)]
    packed = packing.rows(pieces)
    assert sorted(len(item.tokens) for _, held in packed for item in held) == sorted(
        len(item.tokens) for item in pieces
    )
    for length, held in packed:
        assert length in packing.ROW_LENGTHS
        assert sum(len(item.tokens) for item in held) <= length


def test_rows_of_short_pieces_are_nearly_full():
    rng = random.Random(2)
    packed = packing.rows([piece(rng.randint(5, 100)) for _ in range(2000)])
    room = sum(length for length, _ in packed)
    assert sum(len(item.tokens) for _, held in packed for item in held) > 0.98 * room


def test_collate_asks_for_the_next_token_within_a_conversation_only():
    batch = packing.collate([[piece(6), piece(4, first=50)]], 16)
    assert batch.used == 10
    assert batch.documents[0].tolist() == [0] * 6 + [1] * 4 + [-1] * 6
    expected = [IGNORED, 2, IGNORED, IGNORED, 5, IGNORED, IGNORED, 52] + [IGNORED] * 8
    assert batch.targets[0].tolist() == expected


def test_a_conversation_in_a_packed_row_reads_like_one_alone():
    torch.manual_seed(0)
    model = DemoModel(TINY)
    alone = packing.collate([[piece(9, first=40)]], 16)
    packed = packing.collate([[piece(9, first=40), piece(7, first=3)]], 16)
    with torch.no_grad():
        first = model(alone.tokens, alone.documents)[0, :9].float()
        second = model(packed.tokens, packed.documents)[0, :9].float()
    assert torch.allclose(first, second, atol=0.05)


def test_a_pause_does_not_use_up_the_schedule():
    batch = packing.collate([[piece(9)]], 16)
    progress, paused = train.Progress(), train.Progress()
    for _ in range(50):
        progress.step_done(batch, 1.0, wall_s=0.5, left_s=1000)
        paused.step_done(batch, 1.0, wall_s=0.5, left_s=1000)
    before = paused.share
    paused.step_done(batch, 1.0, wall_s=600, left_s=1000)
    assert paused.share - before < 5 * 0.5 / 1000
    assert paused.trained_s < progress.trained_s + 3


def test_the_schedule_ends_when_the_time_is_up():
    batch = packing.collate([[piece(9)]], 16)
    progress = train.Progress(steps=train.WARMUP_STEPS)
    assert train.learning_rate(progress) == pytest.approx(train.PEAK_RATE)
    for step in range(200):
        progress.step_done(batch, 1.0, wall_s=0.5, left_s=0.5 * (200 - step))
    assert progress.share == pytest.approx(1.0)
    assert train.learning_rate(progress) == pytest.approx(train.PEAK_RATE * train.LAST_SHARE)


def test_budget_ends_at_the_clock_time_when_that_comes_first():
    soon = datetime.now(UTC) + timedelta(seconds=100)
    assert train.Budget(3600, soon).left_s(train.Progress()) <= 100
    assert train.Budget(60, soon).left_s(train.Progress(trained_s=20)) == 40
    assert train.Budget(60, None).left_s(train.Progress(trained_s=80)) == 0


def test_exported_weights_give_what_transformers_computes(tmp_path):
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models

    from ci.demo_model.export import export
    from ci.demo_model.tokenizer import SPECIAL

    tokenizer = Tokenizer(models.BPE())
    tokenizer.add_special_tokens(SPECIAL)
    torch.manual_seed(0)
    model = DemoModel(TINY)
    export(model, tokenizer, tmp_path)
    batch = packing.collate([[piece(12, first=20)]], 12)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    with torch.no_grad():
        ours = model(batch.tokens, batch.documents).float() @ model.embedding.T
        logits = theirs(batch.tokens).logits
    assert torch.allclose(ours, logits, atol=0.05 * logits.abs().max().item())
