"""What tests of platforms and of the engine share: random checkpoints in Hugging Face form."""

from .checkpoints import TINY, write_checkpoint, write_tokenizer
from .families import FAMILIES

__all__ = ["FAMILIES", "TINY", "write_checkpoint", "write_tokenizer"]
