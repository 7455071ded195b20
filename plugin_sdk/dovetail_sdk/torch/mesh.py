"""Meshes whose members exchange numbers by torch.distributed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from importlib import import_module

import torch
from dovetail.platform import Device
from torch import distributed

from dovetail_sdk.mesh import MeshDevice

PATIENCE = timedelta(days=7)
"""For members that wait for each other: the parent ends those that would wait for one that is gone."""


def open_mesh(open_one: str, devices: Sequence[str], group: str) -> Device:
    """A mesh with a process per device.

    open_one  "module:function", called in each process with the device's id and the group
    group     "nccl" or "gloo"
    """
    place = tempfile.mkdtemp(prefix="dovetail-mesh-")
    arguments = [
        (open_one, device, group, place, rank, len(devices)) for rank, device in enumerate(devices)
    ]
    closing = partial(shutil.rmtree, place, ignore_errors=True)
    try:
        return MeshDevice("dovetail_sdk.torch.mesh:open_member", arguments, closing=closing)
    except BaseException:
        closing()
        raise


def open_member(
    open_one: str, device: str, group: str, place: str, rank: int, members: int
) -> Device:
    """A member's device, in its own process. The members meet at a file in a folder that is theirs alone."""
    if group == "gloo":
        torch.set_num_threads(max(1, torch.get_num_threads() // members))
    module, _, function = open_one.partition(":")
    opened: Device = getattr(import_module(module), function)(device, group)
    distributed.init_process_group(
        group,
        init_method=f"file://{place}/meeting",
        rank=rank,
        world_size=members,
        timeout=PATIENCE,
    )
    return opened
