"""Running the server: a bound socket, an engine, uvicorn, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import ipaddress
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dovetail.config import EngineConfig
from dovetail.engine import start_engine
from dovetail.errors import ConfigError
from dovetail.logs import task_failed
from dovetail.weights.checkpoint import Checkpoint, open_checkpoint

from .access import Access, read_keys

if TYPE_CHECKING:
    import uvicorn

    from dovetail.engine.client import EngineClient

    from .gate import Gate
    from .served import Served
    from .tracing import Tracing

log = logging.getLogger("dovetail.server")

SIGNALS = (signal.SIGINT, signal.SIGTERM)
BACKLOG = 2048
WATCH_S = 0.25
TRY = {
    "embed": ("embeddings", '"input": "Hello"'),
    "score": ("rerank", '"query": "Hello", "documents": ["Good day", "No"]'),
}
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """What the HTTP side needs to start.

    served_model_name   names that requests may use; the model's own if empty
    api_key             keys, one of which every request but /health must bring; none means open to all
    api_key_file        more keys, each with limits of its own; see access.py
    admin_key           keys for /admin, which is not there without one
    cors_origin         web sites whose pages may use the server from a browser; none by default
    ssl_certfile        PEM of a certificate chain: serve HTTPS
    ssl_keyfile         PEM of its key, if that is not in ssl_certfile
    allowed_host       without keys on a loopback address: names besides the address's own that requests may be sent to
    head_timeout_s      for a request's headers to arrive
    tool_call_parser    how the model writes tool calls; None: as its chat template tells, "none": they are not read
    reasoning_parser    how it writes reasoning, likewise
    stall_timeout_s     for a client to read some of what waits for it
    request_timeout_s   that a request may take altogether; 0: as long as it takes
    otlp_endpoint       URL of a collector that is sent a trace of each request; None: no traces
    in_process          run the engine on a thread here instead of in a process of its own
    max_body_size       bytes of a request's body
    shutdown_timeout_s  that running requests may still take after SIGTERM
    """

    host: str = "127.0.0.1"
    port: int = 8000
    served_model_name: tuple[str, ...] = ()
    api_key: tuple[str, ...] = ()
    api_key_file: str | None = None
    admin_key: tuple[str, ...] = ()
    cors_origin: tuple[str, ...] = ()
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    allowed_host: tuple[str, ...] = ()
    head_timeout_s: float = 30.0
    tool_call_parser: str | None = None
    reasoning_parser: str | None = None
    stall_timeout_s: float = 60.0
    request_timeout_s: float = 0.0
    otlp_endpoint: str | None = None
    in_process: bool = False
    max_body_size: int = 32 << 20
    shutdown_timeout_s: float = 30.0


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; raises ConfigError that says why not."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, OverflowError) as error:
        raise ConfigError(f"{host}:{port} is no address to serve on: {error}") from error
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"port {port} on {host} is in use; stop what uses it, or choose another with --port"
            ) from error
        raise ConfigError(f"cannot serve on {host}:{port}: {error.strerror}") from error
    return listener


def run(engine: EngineConfig, server: ServerConfig, say: Callable[[str], None]) -> int:
    """Serve until a signal; returns the exit status. Raises DovetailError if it cannot start.

    say  is given the lines a person should see
    """
    access = _access(server)
    _check_certificate(server)
    with contextlib.closing(bind(server.host, server.port)) as listener:
        return _runner(lambda: _serve(engine, server, access, listener, say))


def _access(server: ServerConfig) -> Access:
    """The keys that open; raises ConfigError."""
    access = Access.of(server.api_key, server.admin_key)
    if server.api_key_file is None:
        return access
    return Access((*access.keys, *read_keys(Path(server.api_key_file))), access.admin)


def _check_certificate(server: ServerConfig) -> None:
    """Raise ConfigError if HTTPS is wanted and cannot be served."""
    if server.ssl_certfile is None:
        if server.ssl_keyfile is not None:
            raise ConfigError("--ssl-keyfile needs --ssl-certfile")
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            server.ssl_certfile, server.ssl_keyfile
        )
    except (OSError, ssl.SSLError) as error:
        files = " and ".join(filter(None, (server.ssl_certfile, server.ssl_keyfile)))
        raise ConfigError(f"{files} cannot be used for HTTPS: {error}") from error


def _runner(main: Callable[[], Coroutine[None, None, int]]) -> int:
    if sys.platform == "win32":
        return asyncio.run(main())
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        status: int = runner.run(main())
    return status


async def _serve(
    config: EngineConfig,
    server: ServerConfig,
    access: Access,
    listener: socket.socket,
    say: Callable[[str], None],
) -> int:
    asyncio.get_running_loop().set_exception_handler(task_failed)
    checkpoint = open_checkpoint(config.model, revision=config.revision)
    tracing = _tracing(server, checkpoint)
    starting = asyncio.create_task(_start(config, server, checkpoint))
    await asyncio.sleep(0)  # it begins; tokenizer and routes are loaded beside it
    try:
        served = await _served(config, server, checkpoint, starting)
    except BaseException:
        await _abandon(starting)
        raise
    from .app import create_app

    if config.prepare_grammars and served.engine.info.task == "generate":
        served.grammars.prepare()
    address: str = listener.getsockname()[0]
    hosts = _hosts(server, address)
    app = create_app(
        served,
        access=access,
        hosts=hosts,
        origins=server.cors_origin,
        request_timeout_s=server.request_timeout_s,
        ended=tracing.record if tracing is not None else None,
    )
    say(_engine_line(served))
    try:
        return await _listen(
            app, served, server, listener, lambda: say(_ready_line(app, served, server, listener))
        )
    finally:
        await served.engine.close()
        if tracing is not None:
            await asyncio.to_thread(tracing.close)


def _tracing(server: ServerConfig, checkpoint: Checkpoint) -> Tracing | None:
    if server.otlp_endpoint is None:
        return None
    from .tracing import Tracing

    return Tracing.open(server.otlp_endpoint, (*server.served_model_name, checkpoint.name)[0])


async def _start(
    config: EngineConfig, server: ServerConfig, checkpoint: Checkpoint
) -> EngineClient:
    if server.in_process:
        return await start_engine(config, checkpoint, in_process=True)
    from dovetail.engine.supervised import start_supervised

    return await start_supervised(config, checkpoint)


def _hosts(server: ServerConfig, address: str) -> tuple[str, ...]:
    """The names a server without keys answers to, if only this machine is to reach it; else any."""
    keys = server.api_key or server.api_key_file is not None
    if keys or not ipaddress.ip_address(address.partition("%")[0]).is_loopback:
        return ()
    bound = {f"[{name}]" if ":" in name else name for name in (server.host, address)}
    return (*LOOPBACK, *bound, *server.allowed_host)


async def _served(
    config: EngineConfig,
    server: ServerConfig,
    checkpoint: Checkpoint,
    starting: asyncio.Task[EngineClient],
) -> Served:
    """The text side, loaded while the engine starts, and the engine."""
    from dovetail.text.model import TextModel
    from dovetail.text.sentences import SentenceModel

    from .facts import model_facts
    from .metrics import Metrics
    from .served import Served

    vocab_size = checkpoint.config.get("vocab_size")
    if not isinstance(vocab_size, int):
        vocab_size = (await starting).info.vocab_size  # or the engine says what is wrong
    text = TextModel.load(
        checkpoint,
        vocab_size=vocab_size,
        max_model_len=0,
        seed=config.seed,
        calls=server.tool_call_parser,
        reasoning=server.reasoning_parser,
    )
    engine = await starting
    names = server.served_model_name or (checkpoint.name,)
    return Served(
        engine=engine,
        text=replace(text, max_model_len=engine.info.max_model_len),
        names=names,
        metrics=Metrics(names[0], engine.info),
        facts=model_facts(checkpoint.directory, checkpoint.config),
        sentences=SentenceModel.of(checkpoint, text.tokenizer, engine.info),
        max_body_bytes=server.max_body_size,
    )


async def _abandon(starting: asyncio.Task[EngineClient]) -> None:
    """Stop an engine that is no longer wanted."""
    starting.cancel()
    with contextlib.suppress(BaseException):
        await (await starting).close()


async def _listen(
    app: Gate,
    served: Served,
    server: ServerConfig,
    listener: socket.socket,
    started: Callable[[], None],
) -> int:
    """Run uvicorn until a signal has been obeyed or the engine has died for good."""
    web = _uvicorn(app, server)
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()

    def on_signal() -> None:
        if stopping.is_set():  # the second one: do not wait for anybody
            web.force_exit = web.should_exit = True
        stopping.set()

    for number in SIGNALS:
        loop.add_signal_handler(number, on_signal)
    serving = asyncio.create_task(web.serve(sockets=[listener]))
    try:
        while not web.started and not serving.done():
            await asyncio.sleep(0.005)
        gc.collect()
        gc.freeze()  # what is loaded stays: a whole collection would hold every stream while it looked at it again
        started()
        status = await _until_stopped(app, served.engine, web, stopping, server.shutdown_timeout_s)
        web.should_exit = True
        await serving
        return status
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


async def _until_stopped(
    app: Gate,
    engine: EngineClient,
    web: uvicorn.Server,
    stopping: asyncio.Event,
    timeout_s: float,
) -> int:
    """Wait for a signal, then for running requests; 1 if the engine died instead."""
    while not stopping.is_set():
        if engine.ended():
            log.error("the engine is gone; the server stops")
            return 1
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), WATCH_S)
    app.draining = True
    deadline = asyncio.get_running_loop().time() + timeout_s
    while web.server_state.tasks and not web.force_exit:
        if asyncio.get_running_loop().time() > deadline:
            log.warning("requests still ran after %g s; they are ended", timeout_s)
            web.force_exit = True
            break
        await asyncio.sleep(0.02)
    return 0


def _uvicorn(app: Gate, server: ServerConfig) -> uvicorn.Server:
    import uvicorn

    from .protocol import bounded

    class Server(uvicorn.Server):
        """Uvicorn with its signals left to us: it would end the process by the signal itself."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    return Server(
        uvicorn.Config(
            app,
            http=bounded(server.head_timeout_s, server.stall_timeout_s),
            ssl_certfile=server.ssl_certfile,
            ssl_keyfile=server.ssl_keyfile,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=30,
            backlog=BACKLOG,
        )
    )


def _engine_line(served: Served) -> str:
    """What was chosen to run the model on, and how much fits."""
    info = served.engine.info
    fallbacks = f", {info.fallbacks} nodes on fallbacks" if info.fallbacks else ""
    speech = served.text.speech or "plain text, neither tool calls nor reasoning"
    room = f"{info.num_blocks * info.block_size} tokens of cache; {speech}"
    if info.task != "generate":
        made = "vectors" if info.task == "embed" else "scores"
        room = f"{made} of {info.width}, {info.max_num_batched_tokens} tokens a step"
    return (
        f"engine: {info.platform} ({info.reason}), {info.device}; {info.dtype}, weights {info.weights}, cache {info.cache_form}{fallbacks}; "
        f"context {info.max_model_len}, {info.max_num_seqs} sequences, {room}"
    )


def _ready_line(app: Gate, served: Served, server: ServerConfig, listener: socket.socket) -> str:
    """Where to go now: the URL, the model's name and a command to copy."""
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    url = f"{'http' if server.ssl_certfile is None else 'https'}://{shown}:{port}"
    key = " -H 'Authorization: Bearer YOUR_KEY'" if app.has_keys else ""
    task = served.engine.info.task
    if task != "generate":
        path, ask = TRY[task]
    elif served.text.template is None:
        path, ask = "completions", '"prompt": "Hello"'
    else:
        path, ask = "chat/completions", '"messages": [{"role": "user", "content": "Hello"}]'
    body = f'{{"model": "{served.names[0]}", {ask}}}'
    command = f"curl {url}/v1/{path} -H 'Content-Type: application/json'{key} -d '{body}'"
    return f"{served.names[0]} is served on {url}; try: {command}"
