"""The engine: plan, pack, run, sample, commit; in this process or in one of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dovetail.config import EngineConfig

from .client import EngineClient, EngineInfo, EngineStats, Stream

if TYPE_CHECKING:
    from dovetail.weights.checkpoint import Checkpoint

    from .explain import Explanation

__all__ = ["EngineClient", "EngineInfo", "EngineStats", "Stream", "explain", "start_engine"]


async def start_engine(
    config: EngineConfig, checkpoint: Checkpoint, *, in_process: bool = False
) -> EngineClient:
    """An engine that is ready for requests, in a process of its own unless told otherwise.

    Raises ConfigError, PlatformError or CheckpointError if it cannot be loaded.
    """
    if in_process:
        from .local import start_local

        return await start_local(config, checkpoint)
    from .process import start_process

    return await start_process(config, checkpoint)


def explain(config: EngineConfig, checkpoint: Checkpoint) -> Explanation:
    """What would run a model here, node by node, and why (engine/explain.py)."""
    from .explain import explain as _explain

    return _explain(config, checkpoint)
