"""Makes the helpers beside the tests importable: sdk_literal, sdk_driver, sdk_models."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
