"""Everything that Dovetail promises of a platform; toy must be installed (pip install -e .)."""

from dovetail_sdk.conformance import suite

globals().update(suite("toy"))
