"""What the driver knows of the model it serves, and what a platform without arithmetic has to answer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from dovetail.text.tokenizer import Tokenizer
from dovetail.weights.checkpoint import Checkpoint, open_checkpoint
from dovetail_sdk.null import expected

MODEL = "demo"


@dataclass(frozen=True)
class Facts:
    """exact  whether the platform's tokens are defined (null and fault), or a real model's."""

    exact: bool

    @cached_property
    def _checkpoint(self) -> Checkpoint:
        return open_checkpoint(MODEL)

    @cached_property
    def vocab_size(self) -> int:
        """Ids the model gives."""
        return int(self._checkpoint.config["vocab_size"])

    @cached_property
    def stop_ids(self) -> tuple[int, ...]:
        """Ids that end a reply."""
        return tuple(self._checkpoint.generation.eos_ids)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """To say which text belongs to ids."""
        found = self._checkpoint
        return Tokenizer.load(
            found.tokenizer_file, found.tokenizer_config, vocab_size=self.vocab_size
        )

    def reply(
        self, prompt: list[int], count: int, *, stops: bool, temperature: float, seed: int
    ) -> list[int]:
        """The tokens that are due."""
        ends = self.stop_ids if stops else ()
        return expected(
            prompt, count, self.vocab_size, stop_ids=ends, temperature=temperature, seed=seed
        )
