"""Weights: a model's files, and its numbers in the forms a device wants."""

from .checkpoint import Checkpoint, open_checkpoint
from .forms import Forms, choose_forms
from .generation import GenerationDefaults
from .random_source import random_weights
from .source import CheckpointSource, open_source

__all__ = [
    "Checkpoint",
    "CheckpointSource",
    "Forms",
    "GenerationDefaults",
    "choose_forms",
    "open_checkpoint",
    "open_source",
    "random_weights",
]
