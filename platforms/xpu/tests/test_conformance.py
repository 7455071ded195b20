"""Everything that Dovetail promises of a platform, on PoCL: OpenCL 1.2 without any extension."""

import pytest
from dovetail_sdk.conformance import suite
from dovetail_sdk.opencl import find


def reason() -> str | None:
    try:
        return None if any(found.id == "pocl" for found in find()) else "PoCL is not installed"
    except Exception as error:
        return str(error)


pytestmark = pytest.mark.skipif(bool(reason()), reason=str(reason()))
globals().update(suite("xpu:pocl"))
test_lanes = suite(
    "xpu:pocl-lanes", ops="^(attention_write|whole_attention|add_rms_norm|gated_activation)$"
)["test_ops"]
"""Ops whose kernels are others on a GPU; ci/run xpu-lanes runs everything in a GPU's form."""
