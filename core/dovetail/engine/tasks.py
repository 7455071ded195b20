"""What a model is served for: chosen from its architecture and files, or as the user says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dovetail import models
from dovetail.errors import ConfigError, UnsupportedModel
from dovetail.models import Dense, Head, Pooling
from dovetail.weights.checkpoint import Checkpoint

Task = Literal["generate", "embed", "score"]
TASKS: tuple[Task, ...] = ("generate", "embed", "score")


@dataclass(frozen=True, slots=True)
class TaskChoice:
    """A task and the end of the graph that goes with it.

    head   None to generate
    whole  the model sees whole sequences at once: no cache, no chunks
    """

    task: Task
    head: Head | None
    whole: bool


def choose_task(wanted: str, checkpoint: Checkpoint) -> TaskChoice:
    """The task of a model.

    wanted  "auto", or one of TASKS; "auto" takes what the architecture says, except that a decoder with
            sentence-transformers' files embeds

    Raises ConfigError for a task that the model cannot do, CheckpointError for files that do not fit.
    """
    config = checkpoint.config
    own, whole = models.task_of(config), models.is_encoder(config)
    task: Task = own
    if own == "generate" and checkpoint.sentence is not None:
        task = "embed"
    if wanted != "auto":
        task = _asked(wanted, own, checkpoint.name)
    if task == "generate":
        return TaskChoice(task, None, whole)
    if task == "score":
        if (labels := models.num_labels(config)) != 1:
            raise UnsupportedModel(
                f"{checkpoint.name} has a classification head of {labels} labels (id2label in config.json); only "
                "heads of one number, which rank, are served"
            )
        return TaskChoice(task, Head("score", models.pooling_of_scores(config)), whole)
    return TaskChoice(task, _embedding_head(checkpoint, whole), whole)


def _asked(wanted: str, own: Task, name: str) -> Task:
    can = {"generate": ("generate", "embed"), "embed": ("embed",), "score": ("score",)}[own]
    if wanted not in can:
        raise ConfigError(f"--task is {wanted}; {name} can do {', '.join(can)}, or auto")
    return TASKS[TASKS.index(wanted)]


def _embedding_head(checkpoint: Checkpoint, whole: bool) -> Head:
    """As the files say; without any, the mean for encoders and the last token for decoders."""
    files = checkpoint.sentence
    if files is None:
        return Head("embed", "mean" if whole else "last")
    layers = tuple(
        Dense(f"{d.folder}.linear", d.inputs, d.outputs, d.bias, d.activation) for d in files.dense
    )
    pooling: Pooling = files.pooling
    return Head("embed", pooling, layers)
