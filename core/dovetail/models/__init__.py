"""From config.json to a graph: `build` makes it, `facts` reads the sizes.

To add an architecture that is a pre-norm decoder, add a Family (facts.py) and a reader (registry.py); for another
shape of model, write a builder beside decoder.py.
"""

from .facts import ModelFacts, facts
from .registry import ARCHITECTURES, build

__all__ = ["ARCHITECTURES", "ModelFacts", "build", "facts"]
