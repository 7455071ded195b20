"""Where the server is. ci/clients.py starts one for clients in environments of their own; those that are installed beside the
rest (python_files in pyproject.toml) get one here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """http://host:port"""
    if "DOVETAIL_TEST_URL" in os.environ:
        yield os.environ["DOVETAIL_TEST_URL"]
        return
    sys.path.insert(0, str(ROOT))
    from ci.clients import serving  # the scripts are no installed package

    with serving() as address:
        yield address


@pytest.fixture(scope="session")
def key() -> str:
    """An API key of the server."""
    return os.environ.get("DOVETAIL_TEST_KEY", "sk-clients")
