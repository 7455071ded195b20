"""Layer cache as tests of the platform that --platform names."""

from dovetail_sdk.conformance.front import layer_test

test_cache = layer_test("cache")
