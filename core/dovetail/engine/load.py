"""From settings and a checkpoint to an engine that is ready to step."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from dovetail import models, registration
from dovetail.config import EngineConfig
from dovetail.errors import ConfigError, PlatformError
from dovetail.graph import passes, with_forms
from dovetail.options import given_options
from dovetail.platform import (
    CacheForm,
    Capabilities,
    Device,
    KVLayout,
    LoadedModel,
    Program,
    Shape,
)
from dovetail.plugins import Selection, choices, open_first
from dovetail.scheduler import FairShare, Pace, Scheduler
from dovetail.weights.checkpoint import Checkpoint
from dovetail.weights.forms import choose_forms
from dovetail.weights.naming import fit_names
from dovetail.weights.progress import phase
from dovetail.weights.safetensors import open_tensors
from dovetail.weights.source import open_source
from dovetail.weights.weight_cache import WeightCache

from .driven import Driven
from .engine import Engine
from .load_encoder import assemble_encoder, limits_for
from .load_tiers import asked_for, make_tiers
from .masks import Masks
from .prepared import Prepared, check_columns, info_of, way_out
from .sizing import Limits, Sizes, choose_sizes
from .tasks import choose_task

PROMPT_LOGPROBS_CHUNK = 64
MOST_TARGET_MS = 600_000

if TYPE_CHECKING:
    from dovetail.structured.vocabulary import Vocabulary

log = logging.getLogger("dovetail.engine")


def prepare(
    config: EngineConfig, checkpoint: Checkpoint, offers: Sequence[Selection] | None = None
) -> Prepared:
    """Choose platform, device, types and limits, and rewrite the model's graph for the device.

    offers  platforms and devices to try, if that was decided already

    Raises ConfigError, PlatformError or CheckpointError; the device is closed again if anything is raised.
    """
    if offers is None:
        offers = choices(
            config.platform,
            timeout_s=config.probe_timeout_s,
            members=config.tensor_parallel_size,
        )
    selection, device = open_first(offers, given_options(config))
    log.info("platform=%s reason=%r", selection, selection.reason)
    try:
        return _prepare(config, checkpoint, selection, device)
    except BaseException:
        device.close()
        raise


def _prepare(
    config: EngineConfig, checkpoint: Checkpoint, selection: Selection, device: Device
) -> Prepared:
    can = device.capabilities
    facts, task = models.facts(checkpoint.config), choose_task(config.task, checkpoint)
    stored = facts.dtype if task.task == "generate" else facts.dtype or "f32"
    dtype = compute_dtype(config.dtype, stored, can, str(selection))
    form = cache_form(config.kv_cache_dtype, dtype, can, str(selection))
    _tell_unverified(can, f"dtype:{dtype}", f"cache:{form.name}")
    limits = limits_for(config, checkpoint, task, form, device.memory())
    graph = models.build(
        checkpoint.config, dtype=dtype, max_model_len=limits.max_model_len, head=task.head
    )
    graph = fit_names(graph, open_tensors(checkpoint.directory, checkpoint.folders))
    check_columns(graph, can, str(selection))
    chosen = choose_forms(
        graph,
        checkpoint,
        quantization=config.quantization,
        accepted=can.weight_forms,
        compute_dtype=dtype,
    )
    for note in chosen.notes:
        log.warning("%s", note)
    _tell_unverified(can, *{f"weights:{weight}" for weight in chosen.forms.values()})
    ready = passes.prepare(
        with_forms(graph, chosen.forms),
        ops=can.ops,
        fused=can.fused_ops,
        rewrites=can.rewrites,
        supports=device.supports,
        members=len(selection.devices),
    )
    return Prepared(
        selection, device, ready.graph, tuple(ready.supports), form, limits, chosen.describe(), task
    )


def load_engine(
    config: EngineConfig, checkpoint: Checkpoint, offers: Sequence[Selection] | None = None
) -> Driven:
    """Load a model and make its engine. Raises ConfigError, PlatformError or CheckpointError.

    offers  as in `prepare`
    """
    prepared = prepare(config, checkpoint, offers)
    device = prepared.device
    model: LoadedModel | None = None
    try:
        with way_out("take a smaller model or fewer bits (--quantization)"):
            cache = WeightCache.named(config.weight_cache, config.weight_cache_size)
            source = open_source(prepared.graph, checkpoint, cache=cache)
            model = device.load(prepared.graph, source)
        registration.check(model, LoadedModel, prepared.selection.platform.name)  # type: ignore[type-abstract]
        engine = _assemble(config, checkpoint, prepared, model)
        source.close()  # what the platform has packed is there twice; what it reads in place comes back
        return engine
    except BaseException:
        if model is not None:
            model.close()
        device.close()
        raise


def _assemble(
    config: EngineConfig, checkpoint: Checkpoint, prepared: Prepared, model: LoadedModel
) -> Driven:
    if prepared.task.whole:
        if asked_for(config):
            raise ConfigError(
                f"{checkpoint.name} keeps no cache; leave out --kv-cache-host-memory and --kv-cache-disk"
            )
        return assemble_encoder(checkpoint, prepared, model)
    with phase("compiling the model"):
        sizes, shape = _allocate(config, prepared, model)
    with phase("warming up"), way_out("lower --max-num-batched-tokens or --max-num-seqs"):
        program = model.compile(shape)
    name = prepared.selection.platform.name
    registration.check(program, Program, name)  # type: ignore[type-abstract]
    limits = sizes.limits
    scheduler = Scheduler(
        num_blocks=sizes.num_blocks,
        block_size=limits.block_size,
        most_cached=sizes.most_cached,
        max_num_seqs=limits.max_num_seqs,
        max_num_batched_tokens=limits.max_num_batched_tokens,
        max_model_len=limits.max_model_len,
        steps_in_flight=prepared.device.capabilities.steps_in_flight,
        prefix_caching=config.enable_prefix_caching,
        prompt_logprobs_chunk=PROMPT_LOGPROBS_CHUNK,
        policy=FairShare(limits.max_num_batched_tokens),
        pace=_pace(config),
    )
    info = info_of(checkpoint, prepared, limits, num_blocks=sizes.num_blocks - 1)
    masks = Masks(partial(_vocabulary, checkpoint, info.vocab_size))
    if config.prepare_grammars:
        masks.prepare()
    log.info("ready info=%s", info)
    return Engine(
        registration.Watched(program, name),
        scheduler,
        info,
        cache_groups=len(prepared.graph.cache),
        reallocate=partial(_make_cache, model, prepared, sizes),
        masks=masks,
        tiers=make_tiers(config, checkpoint, prepared, model, _layout(prepared)),
        closing=(model.close, prepared.device.close),
    )


def _pace(config: EngineConfig) -> Pace | None:
    target_ms = config.target_inter_token_ms
    if not 0 <= target_ms <= MOST_TARGET_MS:
        raise ConfigError(
            f"--target-inter-token-ms is {target_ms}; it must be in [0, {MOST_TARGET_MS}], 0 for no target"
        )
    return Pace(target_ms / 1000) if target_ms else None


def _vocabulary(checkpoint: Checkpoint, size: int) -> Vocabulary:
    """What grammars are compiled against; llguidance is imported with the first one."""
    from dovetail.structured.vocabulary import Vocabulary

    return Vocabulary.load(checkpoint.tokenizer_file, size)


def _allocate(config: EngineConfig, prepared: Prepared, model: LoadedModel) -> tuple[Sizes, Shape]:
    limits = prepared.limits
    layout = _layout(prepared)
    sizes = choose_sizes(
        config,
        limits,
        block_bytes=sum(model.block_bytes(layout)),
        workspace=model.workspace(largest_step(limits)),
        memory=prepared.device.memory(),
    )
    for note in sizes.notes:
        log.warning("%s", note)
    _make_cache(model, prepared, sizes)
    return sizes, largest_step(sizes.limits)


def _make_cache(model: LoadedModel, prepared: Prepared, sizes: Sizes) -> None:
    layout = _layout(prepared)
    with way_out("lower --kv-cache-memory, --max-model-len or --max-num-seqs"):
        model.allocate(layout, (sizes.num_blocks,) * len(layout.groups))


def _layout(prepared: Prepared) -> KVLayout:
    return KVLayout(prepared.limits.block_size, prepared.form.name, prepared.graph.cache)


def largest_step(limits: Limits) -> Shape:
    """The largest step the scheduler may plan."""
    tokens, rows = limits.max_num_batched_tokens, limits.max_num_seqs
    return Shape(
        tokens=tokens,
        rows=min(rows, tokens),
        outputs=min(rows + PROMPT_LOGPROBS_CHUNK, tokens),
        blocks=-(-limits.max_model_len // limits.block_size),
    )


def _tell_unverified(can: Capabilities, *names: str) -> None:
    """Say which of the features chosen nobody has seen work on this device."""
    for feature in map(can.feature, sorted(names)):
        if feature.state == "unverified":
            log.warning("%s is unverified on this device: %s", feature.name, feature.reason)


def compute_dtype(wanted: str, stored: str | None, can: Capabilities, device: str) -> str:
    if wanted == "auto":
        return stored if stored in can.compute_dtypes else can.compute_dtypes[0]
    if wanted not in can.compute_dtypes:
        raise ConfigError(
            f"--dtype is {wanted}; {device} computes in {', '.join(can.compute_dtypes)}, or auto"
        )
    return wanted


def cache_form(wanted: str, dtype: str, can: Capabilities, device: str) -> CacheForm:
    fitting = [f for f in can.cache_forms if not f.compute_dtypes or dtype in f.compute_dtypes]
    if not fitting:
        raise PlatformError(f"{device} declares no cache form for computation in {dtype}")
    if wanted == "auto":
        return fitting[0]
    for form in fitting:
        if form.name == wanted:
            return form
    known = ", ".join(form.name for form in fitting)
    raise ConfigError(
        f"--kv-cache-dtype is {wanted}; computing in {dtype}, {device} keeps {known}, or auto"
    )
