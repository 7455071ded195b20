"""How the server and the library talk to an engine, wherever it runs.

`engine/local.py` runs the engine on a thread of this process, `engine/process.py` in a process of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, Protocol

from dovetail.errors import Overloaded
from dovetail.request import Output, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """What a started engine says of itself; fixed while it lives.

    reason      why this platform and device were chosen
    num_blocks  usable cache blocks, the scrap block not counted
    fallbacks   nodes that run on a fallback
    task        what the model is served for
    width       numbers of the vector or score that a pooled request gets
    whole       it sees whole sequences at once: there is no cache
    types       it tells segments of its input apart
    """

    model: str
    platform: str
    device: str
    dtype: str
    weights: str
    cache_form: str
    vocab_size: int
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    block_size: int
    num_blocks: int
    fallbacks: int = 0
    reason: str = ""
    task: Literal["generate", "embed", "score"] = "generate"
    width: int = 0
    whole: bool = False
    types: bool = False


@dataclass(slots=True, kw_only=True)
class EngineStats:
    """Counters since start (total_*) and gauges as of the last step.

    queue_tokens               of requests that run or wait, prompts and what they may generate
    blocks_host, blocks_disk   kept in the tiers below the cache
    total_saved_blocks         that went there, and
    total_restored_blocks      came back
    total_restarts             of the engine process, which begins every other counter again
    pid                        of the engine process, 0 if it has none of its own
    """

    running: int = 0
    waiting: int = 0
    queue_tokens: int = 0
    blocks_used: int = 0
    blocks_cached: int = 0
    total_steps: int = 0
    total_prompt_tokens: int = 0
    total_cached_tokens: int = 0
    total_generated_tokens: int = 0
    total_preemptions: int = 0
    blocks_host: int = 0
    blocks_disk: int = 0
    total_saved_blocks: int = 0
    total_restored_blocks: int = 0
    total_disk_errors: int = 0
    total_restarts: int = 0
    pid: int = 0


class Stream(Protocol):
    """The outputs of one request, as they come; ends after the one that carries `finish`.

    Leaving the iteration early does not cancel: call `cancel`.
    """

    def __aiter__(self) -> AsyncIterator[Output]: ...

    def cancel(self) -> None:
        """End the request within a step; harmless when it has ended."""

    def abort(self, error: Exception) -> None:
        """Cancel it; whoever iterates gets what is there and then the error, without waiting for the engine."""


class EngineClient(Protocol):
    """An engine, started and ready."""

    info: EngineInfo

    async def submit(self, request: Request) -> Stream:
        """Queue a request. Raises PromptTooLong, Overloaded or EngineStopped.

        While it is iterated, a stream raises EngineStopped if the engine dies.
        """

    def closed(self) -> Overloaded | None:
        """What `submit` would raise now, whatever the request; None where that depends on it. A refusal costs little so."""

    async def stats(self) -> EngineStats:
        """As of now; raises EngineStopped."""

    def healthy(self) -> bool:
        """Whether the engine can take requests."""

    def ended(self) -> bool:
        """Whether it will never take requests again; one that is not healthy may be about to be."""

    async def close(self) -> None:
        """Stop the engine; running requests end as cancelled."""
