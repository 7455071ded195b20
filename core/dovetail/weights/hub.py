"""Fetching a model from the Hugging Face Hub: safetensors, JSON, tokenizer and template files, never code or pickles.

huggingface_hub itself reads HF_HOME, HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from dovetail.errors import CheckpointError

from .progress import on_terminal
from .sentence import MODULES, modules_of

ALLOW = ["*.safetensors", "*.json", "*.jinja", "tokenizer*"]
# Files in folders are other forms of the same model (onnx/, original/), and so are consolidated.*.
IGNORE = ["*/*", "consolidated*"]

_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,96}")


def is_hub_id(model: str) -> bool:
    """Whether a name has the form organisation/name."""
    return _ID.fullmatch(model) is not None and ".." not in model and "--" not in model


def fetch(
    model: str,
    *,
    revision: str | None,
    progress: bool | None,
    files: Sequence[str] | None = None,
) -> Path:
    """The local snapshot of a hub id, downloaded as far as it is not there yet; of these files, or of all it needs."""
    # Imported here: it takes as long as everything else a start imports, and a directory needs none of it.
    from huggingface_hub import constants, errors

    at = f"{model} at revision {revision!r}" if revision else model
    try:
        return _download(model, revision, progress, ALLOW if files is None else list(files))
    except errors.GatedRepoError:
        raise CheckpointError(
            f"{model} is gated: accept its terms at {constants.ENDPOINT}/{model}, then log in "
            "with `hf auth login` or set HF_TOKEN"
        ) from None
    except errors.RevisionNotFoundError:
        raise CheckpointError(f"{model} has no revision {revision!r} on the hub") from None
    except errors.RepositoryNotFoundError:
        raise CheckpointError(
            f"{model} is neither a directory here nor a model on the hub; check the spelling, or "
            "log in with `hf auth login` if it is private"
        ) from None
    except errors.LocalEntryNotFoundError as error:
        raise CheckpointError(f"{at} is not in the local cache and {_unreachable(error)}") from None
    except errors.HFValidationError as error:
        raise CheckpointError(f"{model!r} is no valid model id: {error}") from None
    except (
        Exception
    ) as error:  # HTTP errors, full disks, damaged caches: the hub's types have no common root
        raise CheckpointError(f"{at} could not be downloaded: {_first_line(error)}") from error


def _download(model: str, revision: str | None, progress: bool | None, files: list[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    show = on_terminal() if progress is None else progress
    hide = not show and not are_progress_bars_disabled()
    if hide:
        disable_progress_bars()
    try:
        found = snapshot_download(
            model, revision=revision, allow_patterns=files, ignore_patterns=IGNORE
        )
        if wanted := module_files(Path(found)):
            snapshot_download(model, revision=Path(found).name, allow_patterns=wanted)
    finally:
        if hide:
            enable_progress_bars()
    return Path(found)


def module_files(directory: Path) -> list[str]:
    """Files in the folders that modules.json names: sentence-transformers' pooling and linear layers."""
    path = directory / MODULES
    if not path.exists():
        return []
    folders = [folder for _, folder in modules_of(path) if folder]
    return [
        f"{folder}/{name}" for folder in folders for name in ("config.json", "model.safetensors")
    ]


def _unreachable(error: Exception) -> str:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return (
            "HF_HUB_OFFLINE is set: unset it to download the model, point HF_HOME to a cache that "
            "has it, or give a local directory"
        )
    return (
        f"the hub did not provide it ({_first_line(error)}): check the connection, point HF_HOME to a "
        "cache that has it, or give a local directory"
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
