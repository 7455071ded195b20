"""Layer programs as tests of the platform that --platform names."""

from dovetail_sdk.conformance.front import layer_test

test_programs = layer_test("programs")
