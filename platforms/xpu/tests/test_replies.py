"""The bundled model over HTTP on PoCL says what it says on the CPU platform."""

import pytest
from dovetail_sdk.testing.replies import replies

pytest.importorskip("dovetail_cpu")


def test_the_bundled_model_says_the_same_as_on_the_cpu_platform(pocl):
    assert replies("xpu:pocl") == replies("cpu")
