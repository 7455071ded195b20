"""Train the bundled model on CPUs, in the background of other work.

    OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=0 nice -n 10 \\
        python -m ci.demo_model.train --work /tmp/demo --out core/dovetail/bundled/demo \\
        --minutes 100 --stop-at 20:20

The learning rate follows one cosine over the training's own progress. Progress is training time in
which a step never counts for more than a few times the usual one, so that a paused process does
not lose its schedule; when the clock time of --stop-at comes near, the cosine is made to end there.
Weights, optimizer and progress are kept every few minutes under --work; a second run goes on there.
"""

import argparse
import logging
import math
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from ci.demo_model.export import export
from ci.demo_model.model import DemoModel, Shape
from ci.demo_model.packing import Batch, Piece, batches, read_shard
from ci.demo_model.shards import load_or_train_tokenizer, shard_path, write_shard

log = logging.getLogger("demo_model.train")

PEAK_RATE = 2.5e-3
WARMUP_STEPS = 150
LAST_SHARE = 0.01
WEIGHT_DECAY = 0.05
MUON_SHARE = 2.0
LONGEST_STEP = 4.0
FIRST_STEP_S = 0.5  # what a step is taken for before one was seen; compiling takes far longer
SHARDS_AT_ONCE = 4


@dataclass(slots=True)
class Progress:
    """How far the training is; all of it is kept in the checkpoint."""

    steps: int = 0
    tokens: int = 0
    trained_s: float = 0.0
    share: float = 0.0
    loss: float = float("nan")
    shard: int = 0
    usual_step_s: dict[int, float] = field(default_factory=dict)

    def step_done(self, batch: Batch, loss: float, wall_s: float, left_s: float) -> None:
        """Count a step; `left_s` is the training time still to come before it."""
        length = batch.tokens.shape[1]
        usual = self.usual_step_s.get(length, FIRST_STEP_S)
        counted = min(wall_s, LONGEST_STEP * usual)
        self.usual_step_s[length] = 0.95 * usual + 0.05 * counted
        self.steps += 1
        self.tokens += batch.used
        self.trained_s += counted
        self.share += (1 - self.share) * min(1.0, counted / max(left_s, counted))
        self.loss = loss if math.isnan(self.loss) else 0.99 * self.loss + 0.01 * loss


@dataclass(frozen=True, slots=True)
class Budget:
    """What ends the training: its own minutes, and a clock time it must not pass."""

    seconds: float
    stop_at: datetime | None

    def left_s(self, progress: Progress) -> float:
        """Training time to come: what is left of the budget, or until the clock time if less."""
        own = self.seconds - progress.trained_s
        if self.stop_at is None:
            return max(own, 0.0)
        return max(min(own, (self.stop_at - datetime.now(UTC)).total_seconds()), 0.0)


def learning_rate(progress: Progress) -> float:
    """Linear warm-up, then a cosine of the share of the training that is done."""
    warm = min(1.0, (progress.steps + 1) / WARMUP_STEPS)
    cosine = 0.5 * (1 + math.cos(math.pi * min(progress.share, 1.0)))
    return PEAK_RATE * warm * (LAST_SHARE + (1 - LAST_SHARE) * cosine)


def optimizers(model: DemoModel) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, which learns from fewer tokens, and AdamW for the rest.

    Source: Jordan et al. 2024, "Muon"; its rates scaled to AdamW's as in Liu et al. 2025.
    """
    matrices = [weight for weight in model.layers.parameters() if weight.ndim == 2]
    norms = [weight for weight in model.parameters() if weight.ndim == 1]
    muon = torch.optim.Muon(
        [{"params": matrices, "share": MUON_SHARE}],
        lr=PEAK_RATE,
        weight_decay=WEIGHT_DECAY,
        momentum=0.95,
        adjust_lr_fn="match_rms_adamw",
    )
    groups = [
        {"params": [model.embedding], "weight_decay": WEIGHT_DECAY, "share": 1.0},
        {"params": norms, "weight_decay": 0.0, "share": 1.0},
    ]
    return [muon, torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.95), fused=True)]


class Training:
    """Model, optimizer and progress, and the files they are kept in."""

    def __init__(self, options: argparse.Namespace) -> None:
        torch.manual_seed(0)
        torch.set_num_threads(options.threads)
        self.work: Path = options.work
        self.out: Path = options.out
        self.tokenizer: Tokenizer = load_or_train_tokenizer(self.work)
        self.model = DemoModel(Shape())
        self.compiled: Any = (
            torch.compile(self.model, dynamic=False) if options.compile else self.model
        )
        self.optimizers = optimizers(self.model)
        self.progress = Progress()
        self.budget = Budget(options.minutes * 60, options.stop_at)
        if self.checkpoint.exists():
            self.load()

    @property
    def checkpoint(self) -> Path:
        return self.work / "checkpoint.pt"

    def load(self) -> None:
        state = torch.load(self.checkpoint, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        self.progress = Progress(**state["progress"])
        log.info("resumed steps=%d share=%.3f", self.progress.steps, self.progress.share)

    def keep(self) -> None:
        """Write the checkpoint and the exported model."""
        unfinished = self.checkpoint.with_suffix(".unfinished")
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "progress": asdict(self.progress),
        }
        torch.save(state, unfinished)
        os.replace(unfinished, self.checkpoint)
        export(self.model, self.tokenizer, self.out)

    def step(self, batch: Batch) -> None:
        started = time.monotonic()
        left_s = self.budget.left_s(self.progress)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(self.progress) * group["share"]
        hidden: Tensor = self.compiled(batch.tokens, batch.documents)
        loss: Any = self.model.loss(hidden, batch.targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.progress.step_done(batch, loss.item(), time.monotonic() - started, left_s)

    def stream(self) -> Iterator[Batch]:
        """Batches of a few shards at a time, for ever; shards that are missing are made."""
        while True:
            pieces: list[Piece] = []
            for index in range(self.progress.shard, self.progress.shard + SHARDS_AT_ONCE):
                if not shard_path(self.work, index).exists():
                    write_shard(self.tokenizer, self.work, index)
                pieces += read_shard(shard_path(self.work, index))
            yield from batches(pieces, random.Random(self.progress.shard))
            self.progress.shard += SHARDS_AT_ONCE


def run(training: Training, keep_every_s: float) -> None:
    """Train until the budget is used up or SIGTERM asks to stop; then keep what there is."""
    progress = training.progress
    kept = time.monotonic()
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    for batch in training.stream():
        if stopped or training.budget.left_s(progress) <= 0 or progress.share >= 0.9999:
            break
        training.step(batch)
        if progress.steps % 100 == 0:
            log.info(
                "steps=%d loss=%.4f rate=%.2e share=%.3f tokens=%d tokens_per_s=%.0f minutes=%.1f",
                progress.steps,
                progress.loss,
                learning_rate(progress),
                progress.share,
                progress.tokens,
                progress.tokens / progress.trained_s,
                progress.trained_s / 60,
            )
        if time.monotonic() - kept > keep_every_s:
            training.keep()
            kept = time.monotonic()
    training.keep()
    log.info(
        "finished steps=%d tokens=%d loss=%.4f", progress.steps, progress.tokens, progress.loss
    )


def clock_time(text: str) -> datetime:
    """The next time the clock (UTC) shows HH:MM."""
    hour, minute = (int(part) for part in text.split(":"))
    now = datetime.now(UTC)
    moment = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return moment if moment > now else moment + timedelta(days=1)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the bundled demo model.")
    parser.add_argument("--work", type=Path, required=True, help="tokens and checkpoint go here")
    parser.add_argument("--out", type=Path, required=True, help="folder of the exported model")
    parser.add_argument("--minutes", type=float, default=120, help="training time")
    parser.add_argument("--stop-at", type=clock_time, help="UTC clock time HH:MM to end by")
    parser.add_argument("--keep-every-s", type=float, default=300)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    run(Training(options), options.keep_every_s)


if __name__ == "__main__":
    main()
