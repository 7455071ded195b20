"""Layer models as tests of the platform that --platform names."""

from dovetail_sdk.conformance.front import layer_test

test_models = layer_test("models")
