"""From config.json to a graph: `build` makes it, `facts` reads the sizes.

To add an architecture that is a pre-norm decoder, add a Family (facts.py) and a reader (registry.py); an encoder is an
entry of encoders.py and a builder like bert.py; for another shape of model, write a builder beside decoder.py.
"""

from .encoders import ENCODERS
from .facts import ModelFacts
from .heads import Dense, Head, Pooling
from .registry import (
    ARCHITECTURES,
    build,
    facts,
    is_encoder,
    num_labels,
    pooling_of_scores,
    task_of,
)

__all__ = [
    "ARCHITECTURES",
    "ENCODERS",
    "Dense",
    "Head",
    "ModelFacts",
    "Pooling",
    "build",
    "facts",
    "is_encoder",
    "num_labels",
    "pooling_of_scores",
    "task_of",
]
