"""How large things are: context, sequences, tokens per step, cache blocks. Pure arithmetic over what is known.

What the user sets is taken or refused; what is left open is chosen from the device's memory, and the numbers are said.
"""

from __future__ import annotations

from dataclasses import dataclass

from dovetail.config import EngineConfig
from dovetail.errors import ConfigError
from dovetail.platform import CacheForm, Memory

DEFAULT_BLOCK = 16
HOST_SEQS, DEVICE_SEQS = 128, 256
HOST_STEP_TOKENS, DEVICE_STEP_TOKENS = 1536, 2048
HOST_CACHE_SHARE, DEVICE_CACHE_SHARE = 0.5, 0.92
HOST_IDLE_BYTES = 384 << 20
"""What prefixes that nobody uses may keep of memory that other programs need too, if one sequence needs no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits a model is served under, before the cache is counted."""

    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    block_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The limits, and the cache blocks that go with them (the scrap block included).

    most_cached  of them that prefixes nobody uses may keep while others are free; None: all
    """

    limits: Limits
    num_blocks: int
    most_cached: int | None = None
    notes: tuple[str, ...] = ()


def choose_limits(config: EngineConfig, *, context: int, form: CacheForm, memory: Memory) -> Limits:
    """Limits from the settings, the model's context and the kind of memory.

    Raises ConfigError for a setting that is out of range.
    """
    _at_least("--max-model-len", config.max_model_len, 1)
    _at_least("--max-num-seqs", config.max_num_seqs, 1)
    _at_least("--max-num-batched-tokens", config.max_num_batched_tokens, 1)
    _at_least("--kv-cache-memory", config.kv_cache_memory, 1)
    if config.max_model_len is not None and config.max_model_len > context:
        raise ConfigError(
            f"--max-model-len is {config.max_model_len}; this model's context is {context} tokens "
            "(max_position_embeddings in config.json)"
        )
    seqs = HOST_SEQS if memory.host else DEVICE_SEQS
    step = HOST_STEP_TOKENS if memory.host else DEVICE_STEP_TOKENS
    seqs = config.max_num_seqs or seqs
    return Limits(
        max_model_len=config.max_model_len or context,
        max_num_seqs=seqs,
        max_num_batched_tokens=config.max_num_batched_tokens or max(step, seqs),
        block_size=_block_size(config.block_size, form),
    )


def _block_size(wanted: int | None, form: CacheForm) -> int:
    multiple, maximum = form.block_multiple, form.block_maximum
    if wanted is None:
        rounded = -(-DEFAULT_BLOCK // multiple) * multiple
        return min(rounded, maximum)
    if wanted % multiple or not 0 < wanted <= maximum:
        raise ConfigError(
            f"--block-size is {wanted}; cache form {form.name} takes multiples of {multiple} up to {maximum}"
        )
    return wanted


def choose_sizes(
    config: EngineConfig, limits: Limits, *, block_bytes: int, workspace: int, memory: Memory
) -> Sizes:
    """How many blocks fit, and the context they leave.

    block_bytes  of one block over all cache groups
    workspace    bytes a step needs beyond weights and cache

    Raises ConfigError, with the numbers, if the cache cannot hold what was asked for.
    """
    per_sequence = -(-limits.max_model_len // limits.block_size)
    wanted = per_sequence * limits.max_num_seqs
    if config.kv_cache_memory is not None:
        blocks = config.kv_cache_memory // block_bytes
    else:
        if workspace > memory.free:
            raise ConfigError(
                f"a step of {limits.max_num_batched_tokens} tokens and {limits.max_num_seqs} sequences needs {workspace} "
                f"bytes beside the weights and {memory.free} are free; lower --max-num-batched-tokens or --max-num-seqs"
            )
        share = HOST_CACHE_SHARE if memory.host else DEVICE_CACHE_SHARE
        room = int((memory.free - workspace) * share)
        blocks = min(room // block_bytes, wanted)
    if memory.largest_allocation:
        blocks = min(blocks, memory.largest_allocation // block_bytes)
    if blocks >= per_sequence:
        shared = memory.host and config.kv_cache_memory is None
        most_cached = max(HOST_IDLE_BYTES // block_bytes, per_sequence) if shared else None
        return Sizes(limits=limits, num_blocks=int(blocks) + 1, most_cached=most_cached)
    return _shortened(config, limits, int(blocks), per_sequence * block_bytes)


def _shortened(config: EngineConfig, limits: Limits, blocks: int, full_bytes: int) -> Sizes:
    length = blocks * limits.block_size
    if config.max_model_len is not None or length < 1:
        raise ConfigError(
            f"one sequence of {limits.max_model_len} tokens needs {full_bytes} bytes of cache and there is room for "
            f"{length} tokens; lower --max-model-len, or raise --kv-cache-memory"
        )
    cut = Limits(
        max_model_len=length,
        max_num_seqs=limits.max_num_seqs,
        max_num_batched_tokens=limits.max_num_batched_tokens,
        block_size=limits.block_size,
    )
    note = (
        f"context cut from {limits.max_model_len} to {length} tokens: a full one needs {full_bytes} bytes of cache; "
        "set --max-model-len or --kv-cache-memory to choose"
    )
    return Sizes(limits=cut, num_blocks=blocks + 1, notes=(note,))


def _at_least(flag: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise ConfigError(f"{flag} is {value}; it must be at least {least}")
