"""Dovetail: a hardware-neutral LLM inference and serving engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .llm import LLM, AsyncLLM, Completion, CompletionOutput
    from .sampling import SamplingParams

__all__ = ["LLM", "AsyncLLM", "Completion", "CompletionOutput", "SamplingParams", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "SamplingParams":
        from .sampling import SamplingParams

        return SamplingParams
    if name in __all__:
        from . import llm

        return getattr(llm, name)
    raise AttributeError(f"module 'dovetail' has no attribute {name!r}")
