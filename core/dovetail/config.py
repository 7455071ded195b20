"""Settings of the engine, as one frozen value.

Nobody else reads the environment: the command line merges file < environment (DOVETAIL_*) < flag into these.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """What an engine needs to start. None means: decided from the model and the device.

    model                   directory, hub id, or "demo" for the bundled model
    revision                of a hub id
    platform                "name" or "name:device"; None takes the best available
    probe_timeout_s         seconds a platform's plugin may take to be imported and to look for devices
    tensor_parallel_size    devices that every layer is divided over; None: as many as `platform` names
    option                  settings of the platform's own, "name=value" each
    threads                 of the host that compute, where the platform has that option
    precision               "accurate", "balanced" or "fast", where the platform has that option
    task                    "auto", "generate", "embed" or "score": what the model is served for
    dtype                   "auto", "f32", "bf16" or "f16": type of the computation
    quantization            None keeps weights as stored; "int8" or "fp8" per channel, "int4" in groups
    weight_cache            directory that keeps quantised weights between starts; "off" keeps none, None takes the user's
                            cache directory
    weight_cache_size       bytes it may hold
    kv_cache_dtype          "auto" or a cache form of the device
    max_model_len           tokens of context, prompt and output together
    max_num_seqs            sequences that may run at once
    max_num_batched_tokens  tokens a step may compute
    target_inter_token_ms   how long running streams may wait for a token while prompts are computed beside them: steps
                            take as many prompt tokens as fit, by what steps were seen to cost; 0 is no target
    kv_cache_memory         bytes for cache blocks
    kv_cache_host_memory    bytes of host memory for blocks that the cache has no room for; None: none, or what --kv-cache-disk
                            needs on the way
    kv_cache_disk           directory for blocks that host memory has no room for, and the bytes it may hold; they outlive the
                            engine
    block_size              tokens per cache block
    enable_prefix_caching   reuse computed prefixes
    prepare_grammars        read what structured output needs while serving starts, not with the first request that asks
                            for it: a second or two and some 250 MB for a vocabulary of 150,000
    seed                    of requests that bring none: None draws a fresh one each time
    max_queue               requests that may wait before new ones are refused
    max_queue_tokens        tokens that all requests together may have, prompts and what they may generate, before new ones are
                            refused
    step_timeout_s          seconds without a sign of life, while requests run, after which an engine process is taken to hang
                            and is started again; 0: never
    max_restarts            lives of the engine process in a row that delivered nothing, after which it is not started
                            again; 0: never start it again
    """

    model: str = "demo"
    revision: str | None = None
    platform: str | None = None
    probe_timeout_s: float = 10.0
    tensor_parallel_size: int | None = None
    option: tuple[str, ...] = ()
    threads: int | None = None
    precision: str | None = None
    task: str = "auto"
    dtype: str = "auto"
    quantization: str | None = None
    weight_cache: str | None = None
    weight_cache_size: int | None = None
    kv_cache_dtype: str = "auto"
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    target_inter_token_ms: float = 350.0
    kv_cache_memory: int | None = None
    kv_cache_host_memory: int | None = None
    kv_cache_disk: tuple[str, int] | None = None
    block_size: int | None = None
    enable_prefix_caching: bool = True
    prepare_grammars: bool = False
    seed: int | None = None
    max_queue: int = 4096
    max_queue_tokens: int = 1 << 26
    step_timeout_s: float = 300.0
    max_restarts: int = 5
