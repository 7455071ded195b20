"""A model's files as found: configuration, tokenizer, chat template. The numbers are source.py's.

Only data is read: JSON, safetensors, a Jinja template as text. Pickles and remote code are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from dovetail.errors import CheckpointError

from .generation import GenerationDefaults, generation_defaults
from .hub import fetch, is_hub_id
from .json_file import read_object, read_text
from .sentence import SentenceFiles, sentence_files

DEMO = "demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A model's directory and what its small files say.

    name              hub id, name of the directory, or "demo"
    config            config.json
    generation        end-of-sequence ids and default sampling
    tokenizer_file    tokenizer.json
    tokenizer_config  tokenizer_config.json, empty where there is none
    chat_template     Jinja source, None where the model has none
    sentence          how its states become a sentence's vector, None where it has no such files
    """

    directory: Path
    name: str
    config: Mapping[str, Any]
    generation: GenerationDefaults
    tokenizer_file: Path
    tokenizer_config: Mapping[str, Any]
    chat_template: str | None
    sentence: SentenceFiles | None = None

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders of modules that have weights of their own."""
        return tuple(module.folder for module in self.sentence.dense) if self.sentence else ()


def open_checkpoint(
    model: str, *, revision: str | None = None, progress: bool | None = None
) -> Checkpoint:
    """Find a model and read its small files.

    model     a Hugging Face directory, a hub id ("org/name"), or "demo" for the bundled model
    revision  branch, tag or commit of a hub id
    progress  show the download; None shows it on a terminal only

    Raises CheckpointError that names the file and what is wrong with it.
    """
    directory, name = _locate(model, revision, progress)
    try:
        return _read(directory, name)
    except OSError as error:  # no permission, or a disk that fails
        raise CheckpointError(f"{error.filename or directory}: {error.strerror}") from error


def open_config(
    model: str, *, revision: str | None = None
) -> tuple[str, Mapping[str, Any], Checkpoint | None]:
    """A model's name, its config.json, and its files if its weights are here too.

    Of a hub id nothing but config.json is fetched, unless all of it is here already. Raises CheckpointError.
    """
    from .safetensors import open_tensors  # here: NumPy comes with it

    directory, name = _locate(model, revision, progress=False, files=("config.json",))
    try:
        config = read_object(_required(directory, "config.json"))
        try:
            checkpoint = _read(directory, name)
            open_tensors(directory, checkpoint.folders)
        except CheckpointError:
            return name, config, None
        return name, config, checkpoint
    except OSError as error:
        raise CheckpointError(f"{error.filename or directory}: {error.strerror}") from error


def _read(directory: Path, name: str) -> Checkpoint:
    config = read_object(_required(directory, "config.json"))
    _check_weights(directory)
    tokenizer_config = _optional(directory, "tokenizer_config.json")
    return Checkpoint(
        directory=directory,
        name=name,
        config=config,
        generation=generation_defaults(
            _optional(directory, "generation_config.json"), config, directory
        ),
        tokenizer_file=_tokenizer_file(directory),
        tokenizer_config=tokenizer_config,
        chat_template=_chat_template(directory, tokenizer_config),
        sentence=sentence_files(directory, tokenizer_config),
    )


def _locate(
    model: str,
    revision: str | None,
    progress: bool | None,
    files: Sequence[str] | None = None,
) -> tuple[Path, str]:
    """The model's directory and its name; of a hub id, these files or what a model has."""
    if not model or "\0" in model:
        raise CheckpointError(f"{model!r} names no model")
    if model != DEMO and not _exists(model) and is_hub_id(model):
        return fetch(model, revision=revision, progress=progress, files=files), model
    if revision is not None:
        raise CheckpointError(
            f"revision {revision!r} was given for {model}, which is no hub id; leave it out"
        )
    if model == DEMO:
        return _bundled(), DEMO
    if not _exists(model):
        raise CheckpointError(
            f"{model} does not exist; give a Hugging Face directory, a hub id (org/name), or {DEMO}"
        )
    directory = Path(model).expanduser()
    if not directory.is_dir():
        raise CheckpointError(f"{model} is a file; give the directory that holds config.json")
    return directory, directory.resolve().name


def _exists(model: str) -> bool:
    try:
        return Path(model).expanduser().exists()
    except (OSError, RuntimeError):  # a name too long for a file; a home that is not known
        return False


def _bundled() -> Path:
    directory = Path(str(resources.files("dovetail") / "bundled" / DEMO))
    if not (directory / "config.json").is_file():
        raise CheckpointError(
            f"the bundled model is missing from {directory}; install dovetail again"
        )
    return directory


def _required(directory: Path, name: str) -> Path:
    path = directory / name
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; {directory} is no Hugging Face model directory")
    return path


def _optional(directory: Path, name: str) -> Mapping[str, Any]:
    path = directory / name
    return read_object(path) if path.exists() else {}


def _check_weights(directory: Path) -> None:
    """Refuse a directory without safetensors, saying what is there instead."""
    if any(directory.glob("*.safetensors")) or any(directory.glob("*.safetensors.index.json")):
        return
    for pattern, kind in (("*.bin", "pickle"), ("*.pt", "pickle"), ("*.pth", "pickle")):
        if found := sorted(directory.glob(pattern)):
            raise CheckpointError(
                f"{found[0]} is a {kind}, which can run code when it is read, and is refused; "
                "convert the model to safetensors (transformers: save_pretrained)"
            )
    if found := sorted(directory.glob("*.gguf")):
        raise CheckpointError(f"{found[0]}: GGUF is not read; give the model's safetensors")
    raise CheckpointError(f"{directory} has no *.safetensors, so the model has no weights")


def _tokenizer_file(directory: Path) -> Path:
    path = directory / "tokenizer.json"
    if path.is_file():
        return path
    if (directory / "tokenizer.model").exists() or (directory / "vocab.json").exists():
        raise CheckpointError(
            f"{path} is missing and the tokenizer is there only in an older form; convert it "
            "(transformers: AutoTokenizer.from_pretrained(...).save_pretrained(...))"
        )
    raise CheckpointError(f"{path} is missing; the model has no tokenizer")


def _chat_template(directory: Path, tokenizer_config: Mapping[str, Any]) -> str | None:
    """chat_template.jinja, else tokenizer_config.json's; of several named ones "default"."""
    path = directory / "chat_template.jinja"
    if path.exists():
        return read_text(path)
    found = tokenizer_config.get("chat_template")
    if found is None or isinstance(found, str):
        return found
    where = f"{directory / 'tokenizer_config.json'}: chat_template"
    if not isinstance(found, list):
        raise CheckpointError(f"{where} must be a string or a list of named templates")
    templates: dict[str, str] = {}
    for entry in found:
        pair = (entry.get("name"), entry.get("template")) if isinstance(entry, dict) else (None,)
        if not all(isinstance(item, str) for item in pair):
            raise CheckpointError(f"{where} has an entry without a name and a template")
        templates[str(pair[0])] = str(pair[-1])
    return templates.get("default")
