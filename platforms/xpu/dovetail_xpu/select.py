"""Which variant of each kernel a device gets, from its extensions alone. No other file looks at them.

Every kernel has a form that needs OpenCL 1.2 and nothing else. The rest are macros:

    LANE      an item per output of a matrix product (GPUs), else sixteen (CPUs, whose items are threads)
    SUBGROUP  sums over a group by sub-groups of this size, where a kernel may demand one

and products of sixteen-bit numbers go to the matrix unit (XMX, linear_matrix.cl) where there are lines enough to fill it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dovetail_sdk.opencl import Found, features_of


@dataclass(frozen=True, slots=True)
class Variant:
    """How kernels are cut for a device.

    lane          macro LANE
    group         items of a group where they share a line or a token
    linear_group  items of a group of a matrix product
    subgroup      macro SUBGROUP, 0 for none
    matrix        whether the matrix unit is used
    emulated      the matrix unit is played by shuffles, on a device that has sub-groups and no unit
    units         compute units, which a short step should keep busy
    stretch       tokens of context below which cutting it costs more than it gains
    """

    lane: bool
    group: int
    linear_group: int
    subgroup: int
    matrix: bool
    units: int
    stretch: int = 256
    emulated: bool = False


def choose(found: Found, units: int) -> Variant:
    """The variant for a device."""
    features = found.features
    subgroup = 16 if features.subgroups else 0
    return Variant(
        lane=found.gpu,
        group=64 if found.gpu else 16,
        linear_group=64 if found.gpu else 1,
        subgroup=subgroup,
        matrix=features.matrix and features.fp16 and bool(subgroup),
        units=units,
        emulated=features.matrix and not features_of(found.handle.extensions).matrix,
    )


def taken_for_gpu(found: Found) -> Found:
    """A CPU in the place of a GPU: kernels are cut for lanes, and shuffles play the matrix unit where there are sub-groups."""
    features = found.features
    matrix = features.subgroups and features.fp16
    return replace(found, gpu=True, features=replace(features, matrix=matrix))
