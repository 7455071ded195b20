"""Limits and the engine of a model that sees whole sequences at once."""

from __future__ import annotations

import logging
from dataclasses import replace

from dovetail import models, registration
from dovetail.config import EngineConfig
from dovetail.errors import ConfigError
from dovetail.platform import CacheForm, KVLayout, LoadedModel, Memory, Program, Shape
from dovetail.weights.checkpoint import Checkpoint

from .driven import Driven
from .encoding import EncoderEngine, EncoderOptions
from .prepared import Prepared, info_of, way_out
from .sizing import Limits, choose_limits
from .tasks import TaskChoice

HOST_TOKENS, DEVICE_TOKENS = 2048, 16384
"""Tokens of a step where nothing is said: enough to fill the device, few enough to end soon."""

log = logging.getLogger("dovetail.engine")


def limits_for(
    config: EngineConfig,
    checkpoint: Checkpoint,
    task: TaskChoice,
    form: CacheForm,
    memory: Memory,
) -> Limits:
    """As choose_limits, except that sentence-transformers' files may say a shorter input, and that a step has room for
    a whole sequence where the model needs that. Raises ConfigError."""
    context = models.facts(checkpoint.config).max_position
    limits = choose_limits(config, context=context, form=form, memory=memory)
    if task.task == "generate":
        return limits
    files = checkpoint.sentence
    if config.max_model_len is None and files is not None and files.max_length is not None:
        limits = replace(limits, max_model_len=min(files.max_length, context))
    if not task.whole:
        return limits
    tokens = HOST_TOKENS if memory.host else DEVICE_TOKENS
    tokens = config.max_num_batched_tokens or max(tokens, limits.max_model_len)
    if tokens < limits.max_model_len:
        raise ConfigError(
            f"--max-num-batched-tokens is {tokens}; {checkpoint.name} sees whole sequences at once, of up to "
            f"{limits.max_model_len} tokens: raise it, or lower --max-model-len"
        )
    return replace(limits, max_num_batched_tokens=tokens)


def assemble_encoder(checkpoint: Checkpoint, prepared: Prepared, model: LoadedModel) -> Driven:
    """The engine, its model compiled. Raises ConfigError where a step has no room."""
    limits, graph = prepared.limits, prepared.graph
    model.allocate(KVLayout(limits.block_size, prepared.form.name, ()), ())
    rows = min(limits.max_num_seqs, limits.max_num_batched_tokens)
    shape = Shape(tokens=limits.max_num_batched_tokens, rows=rows, outputs=rows, blocks=0)
    memory, need = prepared.device.memory(), model.workspace(shape)
    if need > memory.free:
        raise ConfigError(
            f"a step of {shape.tokens} tokens needs {need} bytes beside the weights and {memory.free} are free; lower "
            "--max-num-batched-tokens or --max-model-len"
        )
    with way_out("lower --max-num-batched-tokens or --max-model-len"):
        program = model.compile(shape)
    name = prepared.selection.platform.name
    registration.check(program, Program, name)  # type: ignore[type-abstract]
    info = info_of(checkpoint, prepared, limits, num_blocks=0)
    log.info("ready info=%s", info)
    head = prepared.task.head
    assert head is not None
    options = EncoderOptions(
        output=next(iter(graph.outputs)), pooling=head.pooling, types=info.types
    )
    return EncoderEngine(
        registration.Watched(program, name),
        info,
        options,
        closing=(model.close, prepared.device.close),
    )
