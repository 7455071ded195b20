"""The tests of this folder run in a process of their own, in which Triton interprets (test_triton.py starts it)."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
