"""Traces, as a collector receives them over OTLP/HTTP."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from dovetail.errors import ConfigError
from dovetail.server.tracing import Tracing, traces_url

from .conftest import Running

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PROMPT = "canary of a prompt"

collected = pytest.mark.skipif(
    importlib.util.find_spec("opentelemetry.exporter") is None, reason="dovetail[otel] is not here"
)


class Collector:
    """Takes spans on a free port."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        collector = self

        class Take(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                collector.bodies.append(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Take)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def spans(self) -> list[Any]:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
            ExportTraceServiceRequest,
        )

        requests = [ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        return [
            span
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture
def traced(checkpoint: Path, collector: Collector) -> Iterator[tuple[Running, Tracing]]:
    tracing = Tracing.open(collector.url, "tiny")
    running = Running(checkpoint, api_keys=("canary-key",), ended=tracing.record)
    yield running, tracing
    running.stop()


def attributes(span: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}


@collected
def test_a_request_is_a_span_with_its_parts_below(
    traced: tuple[Running, Tracing], collector: Collector
) -> None:
    server, tracing = traced
    body = {"prompt": PROMPT, "max_tokens": 5, "n": 2, "ignore_eos": True}
    named = {"authorization": "Bearer canary-key", "x_request_id": "mine-7"}
    parent = f"00-{TRACE}-{PARENT}-01"
    status, answer = server.post("/v1/completions", body, traceparent=parent, **named)
    assert status == 200
    assert server.post("/v1/completions", body, traceparent="00-canary-01")[0] == 401
    server.stop()  # the last answer has been written down
    tracing.close()
    spans = collector.spans()
    first, refused = [s for s in spans if s.name == "POST /v1/completions"]
    assert first.trace_id.hex() == TRACE and first.parent_span_id.hex() == PARENT
    assert refused.trace_id.hex() != TRACE and not refused.parent_span_id
    said = attributes(first)
    assert said["http.response.status_code"] == 200 and said["dovetail.request_id"] == "mine-7"
    assert said["gen_ai.usage.output_tokens"] == answer["usage"]["completion_tokens"] == 10
    assert said["gen_ai.usage.input_tokens"] == answer["usage"]["prompt_tokens"]
    assert said["http.route"] == "/v1/completions" and said["dovetail.key"] == "key-1"
    assert attributes(refused)["http.response.status_code"] == 401
    below = [span for span in spans if span.parent_span_id == first.span_id]
    assert sorted(s.name for s in below) == sorted(["queue", "prompt", "generate"] * 2)
    for choice in (0, 1):
        line, prompt, generate = (
            next(s for s in below if s.name == n and attributes(s)["dovetail.choice"] == choice)
            for n in ("queue", "prompt", "generate")
        )
        times = [line.start_time_unix_nano, line.end_time_unix_nano, prompt.end_time_unix_nano]
        times = [first.start_time_unix_nano, *times, generate.end_time_unix_nano]
        assert times == sorted(times) and times[-1] <= first.end_time_unix_nano
        assert prompt.start_time_unix_nano == line.end_time_unix_nano
    assert not any(b"canary" in body for body in collector.bodies)


@collected
def test_a_collector_that_is_away_harms_nobody(checkpoint: Path, collector: Collector) -> None:
    collector.http.server_close()
    tracing = Tracing.open(collector.url, "tiny")
    running = Running(checkpoint, ended=tracing.record)
    try:
        assert running.post("/v1/completions", {"prompt": "x", "max_tokens": 2})[0] == 200
    finally:
        running.stop()
        tracing._provider.shutdown()


def test_without_the_extra_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "opentelemetry.exporter.otlp.proto.http.trace_exporter",
        "opentelemetry.sdk.trace",
    ):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=r"install dovetail\[otel\]"):
        Tracing.open("http://127.0.0.1:4318", "tiny")


def test_nothing_is_imported_without_the_setting() -> None:
    program = "import sys, dovetail.server.app, dovetail.server.tracing, dovetail.server.serve\n"
    program += "assert not [m for m in sys.modules if m.startswith('opentelemetry')]"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_spans_go_to_the_path_that_is_named() -> None:
    assert traces_url("http://h:4318") == traces_url("http://h:4318/") == "http://h:4318/v1/traces"
    assert traces_url("https://h/otlp/v1/traces") == "https://h/otlp/v1/traces"
