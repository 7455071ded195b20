"""tokenizer.json, as somebody else may have written it: checked before the library that reads it sees it.

The library is native code that ends the process where memory fails and that runs patterns for as long as they take.
file.py reads and checks, patterns.py tells which patterns take time in proportion to a text, and apart.py runs the others in a
process of their own.
"""

from .apart import Apart
from .encoding import ids_of
from .file import TokenizerFile, failed, read_tokenizer

__all__ = ["Apart", "TokenizerFile", "failed", "ids_of", "read_tokenizer"]
