"""Everything that Dovetail promises of a platform; mlx must be installed (pip install -e .)."""

from dovetail_sdk.conformance import suite

globals().update(suite("mlx"))
