"""Everything that Dovetail promises of a platform; acme must be installed (pip install -e .)."""

from dovetail_sdk.conformance import suite

globals().update(suite("acme"))
