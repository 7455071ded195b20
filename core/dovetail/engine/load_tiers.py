"""The tiers below the cache, from the settings."""

from __future__ import annotations

import logging
from pathlib import Path

from dovetail.config import EngineConfig
from dovetail.errors import ConfigError
from dovetail.platform import BlockTransfer, KVLayout, LoadedModel
from dovetail.tiers import HostTier, Tiers, open_disk, root_identity
from dovetail.weights.checkpoint import Checkpoint
from dovetail.weights.identity import identity
from dovetail.weights.safetensors import open_tensors

from .prepared import Prepared

HOST_BYTES_WITH_DISK = 512 << 20
"""Host memory that blocks pass through on their way to and from disk, where none is asked for."""
log = logging.getLogger("dovetail.engine")


def asked_for(config: EngineConfig) -> bool:
    """Whether any tier is wanted."""
    return bool(config.kv_cache_host_memory or config.kv_cache_disk)


def make_tiers(
    config: EngineConfig,
    checkpoint: Checkpoint,
    prepared: Prepared,
    model: LoadedModel,
    layout: KVLayout,
) -> Tiers | None:
    """Raises ConfigError for settings that cannot be met, with what to change."""
    if not asked_for(config):
        return None
    check_tiers(config)
    if not isinstance(model, BlockTransfer):
        raise ConfigError(
            f"{prepared.selection} cannot move blocks of the cache to host memory; leave out "
            "--kv-cache-host-memory and --kv-cache-disk"
        )
    widths = model.block_bytes(layout)
    host = HostTier(config.kv_cache_host_memory or HOST_BYTES_WITH_DISK)
    if host.capacity < sum(widths):
        raise ConfigError(
            f"--kv-cache-host-memory is {host.capacity} bytes and one block takes {sum(widths)}; raise it"
        )
    disk = None
    if config.kv_cache_disk is not None:
        directory, capacity = config.kv_cache_disk
        disk = open_disk(Path(directory).expanduser(), capacity, sum(widths))
    log.info("kv_cache_host=%d kv_cache_disk=%s", host.capacity, config.kv_cache_disk or "none")
    return Tiers(
        model,
        widths=widths,
        block_size=layout.block_size,
        identity=_identity(config, checkpoint, prepared, model.block_format),
        host=host,
        disk=disk,
    )


def check_tiers(config: EngineConfig) -> None:
    """Raise ConfigError where tiers are asked for and nothing could be kept in them."""
    if not config.enable_prefix_caching:
        raise ConfigError(
            "--kv-cache-host-memory and --kv-cache-disk keep prefixes, and --no-enable-prefix-caching forbids them; "
            "leave out one or the other"
        )


def _identity(
    config: EngineConfig, checkpoint: Checkpoint, prepared: Prepared, block_format: str
) -> bytes:
    """Of all that keys and values depend on beside tokens: the weights' files and forms, the graph, the platform."""
    files = open_tensors(checkpoint.directory, checkpoint.folders).files
    return root_identity(
        identity(files),
        block_format,
        prepared.graph.dtype,
        repr(prepared.graph.nodes),  # rotary frequencies among them
        prepared.weights,
        prepared.selection.platform.name,
        config.precision,
        config.option,
    )
