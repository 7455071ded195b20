"""OpenTelemetry: a span per request, with spans for the line, the prompt and the generation below it.

Only where it is asked for (--otlp-endpoint): nothing of OpenTelemetry is imported otherwise. Spans are made when a request
is over, from the times that are taken anyway, and sent by a thread of their own; a collector that is slow or away costs no
request anything. Attributes are those of OpenTelemetry's conventions for HTTP and generative AI, as far as they say no
prompt, no reply and no key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dovetail import __version__
from dovetail.errors import ConfigError

from .exchange import Exchange
from .metrics import Timing

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

SEND_TIMEOUT_S = 5.0
TRACES_PATH = "/v1/traces"


@dataclass(frozen=True, slots=True)
class Tracing:
    """Makes spans of exchanges and sends them. `close` sends what is left."""

    model: str
    _provider: TracerProvider
    _tracer: Tracer

    @classmethod
    def open(cls, endpoint: str, model: str) -> Tracing:
        """Send to a collector that takes OTLP over HTTP. Raises ConfigError if OpenTelemetry is not installed.

        endpoint  http://host:4318; spans go to /v1/traces there unless it names a path
        """
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise ConfigError(
                f"--otlp-endpoint needs OpenTelemetry, and {error.name} is not there; install dovetail[otel]"
            ) from error
        resource = Resource.create({"service.name": "dovetail", "service.version": __version__})
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=traces_url(endpoint), timeout=SEND_TIMEOUT_S)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        return cls(model, provider, provider.get_tracer("dovetail", __version__))

    def record(self, exchange: Exchange) -> None:
        """The spans of a request that is over."""
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

        span = self._tracer.start_span(
            f"{exchange.method} {exchange.route}",
            context=_caller(exchange.trace_parent),
            kind=SpanKind.SERVER,
            start_time=exchange.started_ns,
            attributes=self._attributes(exchange),
        )
        if span.is_recording():
            if exchange.status >= 500 or exchange.failure:
                span.set_status(Status(StatusCode.ERROR, exchange.failure or None))
            below = set_span_in_context(span)
            for index, timing in enumerate(exchange.timings):
                self._choice(exchange, index, timing, below)
        span.end(_wall_ns(exchange, exchange.ended))

    def _choice(self, exchange: Exchange, index: int, timing: Timing, below: Context) -> None:
        """The parts of one choice's time: waiting, reading the prompt, writing."""
        begun = timing.started + max(0.0, timing.waited_s)
        parts = [("queue", timing.started, begun)] if timing.waited_s >= 0 else []
        if timing.first:
            parts += [("prompt", begun, timing.first), ("generate", timing.first, timing.last)]
        for name, start, end in parts:
            span = self._tracer.start_span(
                name,
                context=below,
                start_time=_wall_ns(exchange, start),
                attributes={"dovetail.choice": index},
            )
            span.end(_wall_ns(exchange, end))

    def _attributes(self, exchange: Exchange) -> dict[str, Any]:
        found = {
            "http.request.method": exchange.method[:20],
            "http.route": exchange.route,
            "http.response.status_code": exchange.status,
            "dovetail.request_id": exchange.request_id,
        }
        if exchange.key:
            found["dovetail.key"] = exchange.key
        if exchange.prompt_tokens:
            found["gen_ai.request.model"] = self.model
            found["gen_ai.usage.input_tokens"] = exchange.prompt_tokens
            found["gen_ai.usage.output_tokens"] = exchange.generated_tokens
            found["dovetail.cached_tokens"] = exchange.cached_tokens
        return found

    def close(self) -> None:
        """Send what is left, for SEND_TIMEOUT_S at most."""
        self._provider.force_flush(int(SEND_TIMEOUT_S * 1000))
        self._provider.shutdown()


def traces_url(endpoint: str) -> str:
    """Where spans are posted."""
    parts = urlsplit(endpoint)
    return endpoint if parts.path.strip("/") else parts._replace(path=TRACES_PATH).geturl()


def _caller(trace_parent: str) -> Context:
    """What the request is a part of; empty if it does not say, or not as W3C's Trace Context has it."""
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {"traceparent": trace_parent} if trace_parent else {}
    return TraceContextTextMapPropagator().extract(carrier, Context())


def _wall_ns(exchange: Exchange, at: float) -> int:
    """A moment on the clock of Timing, as nanoseconds since 1970."""
    return exchange.started_ns + int((at - exchange.started) * 1e9)
