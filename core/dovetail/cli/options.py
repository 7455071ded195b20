"""The settings that flags, environment and file share: one table, from which all three are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dovetail.errors import ConfigError

from .values import (
    MOST,
    assignment,
    between,
    call_format,
    filled,
    http_url,
    milliseconds,
    one_of,
    port,
    reason,
    reasoning_format,
    seconds,
    size,
    sized_directory,
    truth,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One setting: field of EngineConfig or ServerConfig, flag --like-this, variable DOVETAIL_LIKE_THIS.

    parse    text -> value; raises ValueError that says what it must be
    many     may be given more than once (in the environment: separated by commas)
    switch   flag without a value: what giving it means
    rare     shown by --help-all alone
    """

    name: str
    help: str
    parse: Callable[[str], Any] = str
    metavar: str = ""
    many: bool = False
    switch: bool | None = None
    rare: bool = False

    @property
    def flag(self) -> str:
        """As on the command line."""
        word = self.name.replace("_", "-")
        return f"--no-{word}" if self.switch is False else f"--{word}"

    @property
    def variable(self) -> str:
        """As in the environment."""
        return f"DOVETAIL_{self.name.upper()}"

    def read(self, text: str, origin: str) -> Any:
        """The value of a text, a tuple where there may be many; raises ConfigError as `one` does."""
        if self.many:
            return tuple(self.one(part.strip(), origin) for part in text.split(","))
        return self.one(text, origin)

    def one(self, text: str, origin: str) -> Any:
        """The value of the text of one; raises ConfigError that names where it came from."""
        try:
            return self.parse(text)
        except ValueError as error:
            raise ConfigError(f"{origin} is {text!r}: {reason(error)}") from None


ENGINE = (
    Option(name="revision", help="branch, tag or commit of a hub id", metavar="REV"),
    Option(
        name="platform",
        help="name or name:device[,device]; the best there is if left out",
        metavar="NAME",
    ),
    Option(
        name="probe_timeout_s",
        help="seconds a plugin may take to look (10)",
        parse=seconds,
        metavar="S",
        rare=True,
    ),
    Option(
        name="tensor_parallel_size",
        help="devices that layers are divided over",
        parse=between(1, 1024),
        metavar="N",
    ),
    Option(
        name="option",
        help="NAME=VALUE, a setting of the platform's own; repeatable",
        parse=assignment,
        metavar="SETTING",
        many=True,
    ),
    Option(name="threads", help="of the host that compute", parse=between(1, 4096), metavar="N"),
    Option(
        name="precision",
        help="accurate, balanced or fast, where the platform has a choice",
        parse=one_of("accurate", "balanced", "fast"),
        metavar="P",
    ),
    Option(
        name="task",
        help="auto, generate, embed or score: what the model is served for",
        parse=one_of("auto", "generate", "embed", "score"),
        metavar="TASK",
    ),
    Option(
        name="dtype",
        help="auto, f32, bf16 or f16",
        parse=one_of("auto", "f32", "bf16", "f16", "float32", "bfloat16", "float16", "half"),
        metavar="TYPE",
    ),
    Option(
        name="quantization",
        help="int8, fp8 or int4: quantise weights while loading",
        parse=one_of("int8", "fp8", "int4"),
        metavar="FORM",
    ),
    Option(
        name="weight_cache",
        help="directory for quantised weights, or off",
        parse=filled,
        metavar="DIR",
    ),
    Option(
        name="weight_cache_size",
        help="that it may hold: 20G",
        parse=size,
        metavar="SIZE",
        rare=True,
    ),
    Option(name="kv_cache_dtype", help="auto, f32, bf16, u8, ...", metavar="TYPE"),
    Option(name="max_model_len", help="tokens of context", parse=between(1, MOST), metavar="N"),
    Option(name="max_num_seqs", help="sequences at once", parse=between(1, 65_536), metavar="N"),
    Option(
        name="max_num_batched_tokens",
        help="tokens per step",
        parse=between(1, 1 << 20),
        metavar="N",
    ),
    Option(
        name="target_inter_token_ms",
        help="a step's length while prompts enter (350)",
        parse=milliseconds,
        metavar="MS",
    ),
    Option(name="kv_cache_memory", help="for the cache: 512M, 4G", parse=size, metavar="SIZE"),
    Option(
        name="kv_cache_host_memory",
        help="for prefixes the cache has no room for: 4G",
        parse=size,
        metavar="SIZE",
    ),
    Option(
        name="kv_cache_disk",
        help="for prefixes, kept between starts: /dir:20G",
        parse=sized_directory,
        metavar="DIR:SIZE",
    ),
    Option(name="block_size", help="tokens per cache block", parse=between(1, 65_536), metavar="N"),
    Option(
        name="enable_prefix_caching",
        help="do not reuse computed prefixes",
        parse=truth,
        switch=False,
    ),
    Option(
        name="prepare_grammars",
        help="get ready for structured output at the start, not with the first request for it",
        parse=truth,
        switch=True,
    ),
    Option(
        name="seed",
        help="of requests that bring none",
        parse=between(-(1 << 63), (1 << 64) - 1),
        metavar="N",
    ),
    Option(name="max_queue", help="requests that may wait", parse=between(0, 1 << 20), metavar="N"),
    Option(
        name="max_queue_tokens",
        help="prompts and outputs that may run or wait (67108864)",
        parse=between(1, 1 << 50),
        metavar="N",
        rare=True,
    ),
    Option(
        name="step_timeout_s",
        help="seconds of silence after which an engine process hangs (300)",
        parse=seconds,
        metavar="S",
        rare=True,
    ),
    Option(
        name="max_restarts",
        help="of an engine process that delivers nothing (5)",
        parse=between(0, 1 << 20),
        metavar="N",
        rare=True,
    ),
)
API_KEY = Option(
    name="api_key",
    help="key that requests must bring; repeatable",
    parse=filled,
    metavar="KEY",
    many=True,
)
PARSERS = (
    Option(
        name="tool_call_parser",
        help="how the model writes tool calls, if its chat template does not tell",
        parse=call_format,
        metavar="NAME",
    ),
    Option(
        name="reasoning_parser",
        help="how it writes reasoning, likewise; none turns it off",
        parse=reasoning_format,
        metavar="NAME",
    ),
)
SERVER = (
    Option(name="host", help="address to listen on (127.0.0.1)", metavar="ADDRESS"),
    Option(name="port", help="port to listen on (8000)", parse=port, metavar="PORT"),
    Option(
        name="served_model_name",
        help="name in the API; repeatable",
        parse=filled,
        metavar="NAME",
        many=True,
    ),
    API_KEY,
    Option(name="api_key_file", help="TOML of keys with limits of their own", metavar="FILE"),
    Option(
        name="admin_key",
        help="key for /admin, absent without one; repeatable",
        parse=filled,
        metavar="KEY",
        many=True,
    ),
    Option(
        name="cors_origin",
        help="site whose pages may use the server; repeatable",
        parse=filled,
        metavar="URL",
        many=True,
    ),
    Option(name="ssl_certfile", help="PEM of a certificate: serve HTTPS", metavar="FILE"),
    Option(name="ssl_keyfile", help="PEM of its key", metavar="FILE"),
    Option(
        name="allowed_host",
        help="Host to answer to on a keyless loopback; repeatable",
        parse=filled,
        metavar="NAME",
        many=True,
    ),
    Option(
        name="head_timeout_s",
        help="seconds for a request's headers to arrive (30)",
        parse=seconds,
        metavar="S",
        rare=True,
    ),
    Option(
        name="stall_timeout_s",
        help="seconds for a client to read what waits (60)",
        parse=seconds,
        metavar="S",
        rare=True,
    ),
    Option(
        name="request_timeout_s",
        help="seconds a request may take; none if 0 (0)",
        parse=seconds,
        metavar="S",
        rare=True,
    ),
    Option(
        name="otlp_endpoint",
        help="collector of OpenTelemetry that is sent traces",
        parse=http_url,
        metavar="URL",
        rare=True,
    ),
    Option(name="max_body_size", help="of a request: 32M", parse=size, metavar="SIZE"),
    Option(
        name="shutdown_timeout_s",
        help="seconds that requests may take after SIGTERM (30)",
        parse=seconds,
        metavar="S",
    ),
    *PARSERS,
    Option(name="in_process", help="run the engine in this process", parse=truth, switch=True),
)
MODEL = Option(name="model", help="directory, hub id, or demo")
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_LEVEL = Option(
    name="log_level", help="debug, info, warning or error", parse=one_of(*LOG_LEVELS), metavar="L"
)
LOG_FORMAT = Option(
    name="log_format",
    help="text or json",
    parse=one_of("text", "json"),
    metavar="F",
    rare=True,
)
LOGGING = (LOG_LEVEL, LOG_FORMAT)
DTYPES = {"float32": "f32", "bfloat16": "bf16", "float16": "f16", "half": "f16"}
