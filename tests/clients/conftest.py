"""Where the server is. ci/clients.py starts it and runs these files, which are not named test_*: each needs its client."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session")
def url() -> str:
    """http://host:port"""
    return os.environ["DOVETAIL_TEST_URL"]


@pytest.fixture(scope="session")
def key() -> str:
    """An API key of the server."""
    return os.environ["DOVETAIL_TEST_KEY"]
