"""A model that the kernel library runs over the cache form it keeps, and OpenVINO over any other."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
from dovetail.platform import I32, KVLayout, LoadedModel, Program, Shape, Ticket
from numpy.typing import NDArray

from dovetail_cpu.model import CpuModel

from .model import NativeModel
from .support import CACHE_FORM

log = logging.getLogger("dovetail.cpu")


class ChosenModel(LoadedModel):
    """Decides when a layout is named; until then it is the library's. Also a BlockTransfer."""

    def __init__(self, native: NativeModel, openvino: Callable[[], CpuModel]) -> None:
        self._model: NativeModel | CpuModel = native
        self._native = native
        self._make = openvino

    def block_bytes(self, layout: KVLayout) -> tuple[int, ...]:
        return self._for(layout).block_bytes(layout)

    def workspace(self, shape: Shape) -> int:
        return self._model.workspace(shape)

    def allocate(self, layout: KVLayout, num_blocks: tuple[int, ...]) -> None:
        self._for(layout).allocate(layout, num_blocks)

    def compile(self, shape: Shape) -> Program:
        return self._model.compile(shape)

    def copy_blocks(self, group: int, sources: I32, targets: I32) -> None:
        self._model.copy_blocks(group, sources, targets)

    @property
    def block_format(self) -> str:
        return self._model.block_format

    def read_blocks(self, group: int, blocks: I32, out: NDArray[np.uint8]) -> Ticket[None]:
        return self._model.read_blocks(group, blocks, out)

    def write_blocks(self, group: int, blocks: I32, data: NDArray[np.uint8]) -> Ticket[None]:
        return self._model.write_blocks(group, blocks, data)

    def close(self) -> None:
        self._model.close()
        self._native.close()

    def _for(self, layout: KVLayout) -> LoadedModel:
        """The model for a layout's cache form; a change gives the other one's cache back."""
        wants_native = layout.form == CACHE_FORM or not layout.groups
        if wants_native and isinstance(self._model, CpuModel):
            self._model.close()
            self._model = self._native
        elif not wants_native and isinstance(self._model, NativeModel):
            log.info("kernels=openvino reason='the kernels keep no %s cache'", layout.form)
            self._native.drop_cache()
            self._model = self._make()
        return self._model
