"""How a model's hidden states become a sentence's vector: the files that sentence-transformers keeps beside a model.

modules.json lists what follows the model (pooling, linear layers, normalisation), sentence_bert_config.json the longest
input, config_sentence_transformers.json the prompts. Read as data; a module that is not known is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dovetail.errors import CheckpointError, UnsupportedModel

from .json_file import parse_object, read_object, read_text

MODULES = "modules.json"
SETTINGS = ("sentence_bert_config.json", "sentence_roberta_config.json")
PROMPTS = "config_sentence_transformers.json"
MAX_MODULES, MAX_PROMPTS, MAX_PROMPT = 16, 64, 8192
MAX_WIDTH = 1 << 20
MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last",
}
POOLINGS: Mapping[str, Literal["cls", "mean", "last"]] = {
    "cls": "cls",
    "mean": "mean",
    "lasttoken": "last",
    "last": "last",
}
ACTIVATIONS = {"Identity": None, "Tanh": "tanh"}


@dataclass(frozen=True, slots=True)
class DenseModule:
    """A linear layer behind the pooling; its tensors are in its folder's model.safetensors.

    activation  "tanh" or None
    """

    folder: str
    inputs: int
    outputs: int
    bias: bool
    activation: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceFiles:
    """What the files say.

    pooling         "cls", "mean" or "last"
    include_prompt  whether tokens of a prompt take part in the mean
    normalize       vectors have length 1
    max_length      tokens of the longest input, None where nothing is said
    lower_case      texts are put in lower case before anything else
    prompts         name -> text put before an input
    default_prompt  name of the one that is used where a request names none
    """

    pooling: Literal["cls", "mean", "last"]
    include_prompt: bool
    normalize: bool
    dense: tuple[DenseModule, ...]
    max_length: int | None
    lower_case: bool
    prompts: Mapping[str, str]
    default_prompt: str | None


def sentence_files(directory: Path, tokenizer_config: Mapping[str, Any]) -> SentenceFiles | None:
    """The files of a directory, None where it has no modules.json with a pooling.

    tokenizer_config  tokenizer_config.json, where present versions say the longest input

    Raises CheckpointError that names the file and the field, UnsupportedModel for a module that is not built.
    """
    path = directory / MODULES
    if not path.exists():
        return None
    modules = modules_of(path)
    if not any(kind == "Pooling" for kind, _ in modules):
        return None
    pooling: Literal["cls", "mean", "last"] = "mean"
    include_prompt, normalize, dense = True, False, []
    for kind, folder in modules:
        config = directory / folder / "config.json"
        if kind == "Pooling":
            pooling, include_prompt = _pooling(config)
        elif kind == "Dense":
            dense.append(_dense(config, folder))
        elif kind == "Normalize":
            normalize = True
    settings = _first(directory, SETTINGS)
    prompts, default = _prompts(directory / PROMPTS)
    return SentenceFiles(
        pooling=pooling,
        include_prompt=include_prompt,
        normalize=normalize,
        dense=tuple(dense),
        max_length=_longest(settings, tokenizer_config),
        lower_case=_flag(settings, "do_lower_case", SETTINGS[0]),
        prompts=prompts,
        default_prompt=default,
    )


def modules_of(path: Path) -> list[tuple[str, str]]:
    """(class, folder) of each module, in order; the folder is a plain name below the model's directory."""
    listed = parse_object('{"modules": ' + read_text(path) + "}", str(path))["modules"]
    if not isinstance(listed, list) or not 0 < len(listed) <= MAX_MODULES:
        raise CheckpointError(f"{path} must be a list of 1 to {MAX_MODULES} modules")
    found = []
    for entry in listed:
        kind = entry.get("type") if isinstance(entry, dict) else None
        folder = entry.get("path") if isinstance(entry, dict) else None
        if not isinstance(kind, str) or not isinstance(folder, str):
            raise CheckpointError(f"{path} has a module without type and path")
        if set(folder) & set("/\\:\0") or folder in ("..", "."):
            raise CheckpointError(
                f"{path} names the folder {folder[:100]!r}; it must be a plain name"
            )
        found.append((kind.rpartition(".")[2], folder))
    _check_order([kind for kind, _ in found], path)
    return found


def _check_order(kinds: list[str], path: Path) -> None:
    known = ("Transformer", "Pooling", "Dense", "Normalize", "Dropout")
    for kind in kinds:
        if kind not in known:
            raise UnsupportedModel(
                f"{path}: module {kind[:100]} is not supported; supported: {known}"
            )
    steps = [kind for kind in kinds if kind != "Dropout"]
    shape = ["Transformer", "Pooling", *["Dense"] * steps.count("Dense")]
    if steps not in (shape, [*shape, "Normalize"]) and "Pooling" in steps:
        raise UnsupportedModel(
            f"{path}: modules are {', '.join(steps)}; supported: Transformer, Pooling, any Dense, Normalize"
        )


def _pooling(path: Path) -> tuple[Literal["cls", "mean", "last"], bool]:
    values = read_object(path)
    include = values.get("include_prompt", True)
    if not isinstance(include, bool):
        raise CheckpointError(f"{path}: include_prompt must be true or false")
    named = values.get("pooling_mode")
    if named is not None:
        modes = [named] if isinstance(named, str) else named
    else:
        modes = [name for name in values if name.startswith("pooling_mode_") and values[name]]
        modes = [MODES.get(name, name) for name in modes]
    if not isinstance(modes, list) or len(modes) != 1 or modes[0] not in [*POOLINGS]:
        raise UnsupportedModel(
            f"{path}: pooling {str(modes)[:200]} is not supported; supported: one of cls, mean, last token"
        )
    return POOLINGS[modes[0]], include


def _dense(path: Path, folder: str) -> DenseModule:
    values = read_object(path)
    name = str(values.get("activation_function", "torch.nn.modules.activation.Tanh"))
    activation = name.rpartition(".")[2]
    if activation not in ACTIVATIONS:
        raise UnsupportedModel(
            f"{path}: activation_function {name[:100]!r} is not supported; supported: Identity, Tanh"
        )
    return DenseModule(
        folder,
        _length(values, "in_features", path),
        _length(values, "out_features", path),
        _flag({"bias": values.get("bias", True)}, "bias", str(path)),
        ACTIVATIONS[activation],
    )


def _length(values: Mapping[str, Any], name: str, path: Path) -> int:
    value = values.get(name)
    if type(value) is not int or not 0 < value <= MAX_WIDTH:
        raise CheckpointError(
            f"{path}: {name} is {str(value)[:60]}; expected a whole number from 1 to {MAX_WIDTH}"
        )
    return value


def _flag(values: Mapping[str, Any], name: str, where: str) -> bool:
    value = values.get(name)
    if value is not None and not isinstance(value, bool):
        raise CheckpointError(f"{where}: {name} must be true or false")
    return bool(value)


def _longest(settings: Mapping[str, Any], tokenizer_config: Mapping[str, Any]) -> int | None:
    """max_seq_length, or the tokenizer's length where it has one (a huge number says that it has none)."""
    if settings.get("max_seq_length") is not None:
        return _length(settings, "max_seq_length", Path(SETTINGS[0]))
    found = tokenizer_config.get("model_max_length")
    return found if type(found) is int and 0 < found <= MAX_WIDTH else None


def _first(directory: Path, names: tuple[str, ...]) -> Mapping[str, Any]:
    for name in names:
        if (directory / name).exists():
            return read_object(directory / name)
    return {}


def _prompts(path: Path) -> tuple[Mapping[str, str], str | None]:
    if not path.exists():
        return {}, None
    values = read_object(path)
    prompts = values.get("prompts") or {}
    if not isinstance(prompts, dict) or len(prompts) > MAX_PROMPTS:
        raise CheckpointError(f"{path}: prompts must be an object of at most {MAX_PROMPTS} texts")
    for name, text in prompts.items():
        if not isinstance(text, str) or len(text) > MAX_PROMPT:
            raise CheckpointError(
                f"{path}: prompt {name[:60]!r} must be a text of at most {MAX_PROMPT} characters"
            )
    default = values.get("default_prompt_name")
    if default is not None and default not in [*prompts]:  # a list is no key
        raise CheckpointError(f"{path}: default_prompt_name {str(default)[:60]!r} is in no prompts")
    return prompts, default
