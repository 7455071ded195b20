"""Every error Dovetail raises on purpose, as one tree.

    DovetailError
      ConfigError              the settings are wrong; raised before anything starts
      PlatformError            something about a platform plugin or its device
        PlatformNotFound         no plugin of that name is installed
        PlatformBroken           a plugin is installed and cannot be used; carries the cause
        ContractMismatch         the plugin speaks another version of the contract
        DeviceUnavailable        a device that was there cannot be opened; carries the cause
        UnsupportedOp            the device cannot run these nodes; lists every gap at once
        OutOfMemory              from load, workspace, allocate and compile only
        CacheLost                cache contents are gone: allocate again and recompute
        DeviceLost               the device is gone: the engine process is replaced
      CheckpointError          files of a model are missing, damaged or do not fit; names the file
        UnsupportedModel         an architecture or option this engine does not build
      RequestError       4xx   the request is at fault; carries the parameter and a code
        PromptTooLong, UnknownModel, UnsupportedParameter, InvalidParameter
      EngineError        5xx   the engine is at fault
        Overloaded       429     the queue is full; carries when to try again
        EngineStopped    503     the engine is not running
        DeadlineExceeded 504     the request was not complete in the time it had

A message names the thing, the value it has, the limit and the way out.
"""

from __future__ import annotations


class DovetailError(Exception):
    """The root of every deliberate error."""


class ConfigError(DovetailError):
    """The settings are wrong."""


class PlatformError(DovetailError):
    """Something about a platform plugin or its device."""


class PlatformNotFound(PlatformError):
    """No plugin of that name is installed."""


class PlatformBroken(PlatformError):
    """A plugin is installed and cannot be used."""


class ContractMismatch(PlatformError):
    """The plugin speaks a version of the contract that this core does not."""


class DeviceUnavailable(PlatformError):
    """A device that a plugin reported as usable cannot be opened."""


class UnsupportedOp(PlatformError):
    """The device cannot run some nodes of a graph; the message lists them all."""


class OutOfMemory(PlatformError):
    """The device has too little memory for what was asked."""


class CacheLost(PlatformError):
    """The contents of the cache are gone; weights are intact."""


class DeviceLost(PlatformError):
    """The device cannot be used any more in this process."""


class CheckpointError(DovetailError):
    """Files of a model are missing, damaged, or do not fit each other."""


class UnsupportedModel(CheckpointError):
    """An architecture or an option of it that this engine does not build."""


class RequestError(DovetailError):
    """The request is at fault.

    param  the request's field that is wrong, or None
    code   a stable word for programs, None where OpenAI has none
    """

    status = 400
    code: str | None = "invalid_request_error"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class InvalidParameter(RequestError):
    """A parameter has a value outside what it may have."""

    code = "invalid_value"


class UnsupportedParameter(RequestError):
    """A known parameter that this server does not support (it is refused, never ignored)."""

    code = "unsupported_parameter"


class PromptTooLong(RequestError):
    """The prompt, or the prompt and the tokens asked for, exceed the context."""

    code = "context_length_exceeded"


class UnknownModel(RequestError):
    """No model of that name is served here."""

    status = 404
    code = "model_not_found"


class EngineError(DovetailError):
    """The engine is at fault."""

    status = 500


class Overloaded(EngineError):
    """The queue is full.

    retry_after_s  seconds after which a retry has a chance
    """

    status = 429

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class EngineStopped(EngineError):
    """The engine is not running."""

    status = 503


class DeadlineExceeded(EngineError):
    """The request was not complete in the time it had."""

    status = 504
