"""Everything that Dovetail promises of a platform, on the emulated device; of the ops attention alone, which is more than a
line of XLA, as every model runs the others (`ci/run tpu` runs them all)."""

from dovetail_sdk.conformance import suite

SPEC = "tpu:cpu"
globals().update(suite(SPEC) | {"test_ops": suite(SPEC, ops="^attention$")["test_ops"]})
