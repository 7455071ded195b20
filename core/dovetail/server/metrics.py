"""GET /metrics: counters of the engine and timings of the server, for Prometheus. Names follow vLLM's."""

from __future__ import annotations

import bisect
import time
from collections.abc import Iterable, Sequence

import prometheus_client
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from dovetail.engine.client import EngineInfo, EngineStats
from dovetail.request import FinishReason

from .traffic import Traffic, processes

PREFIX = "dovetail:"
CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST
FIRST_TOKEN_S = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
    20.0,
    40.0,
    80.0,
    160.0,
    640.0,
)
BETWEEN_TOKENS_S = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.075,
    0.1,
    0.15,
    0.2,
    0.3,
    0.4,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    10.0,
)
WHOLE_S = (
    0.01,
    0.05,
    0.1,
    0.3,
    0.5,
    0.8,
    1.0,
    1.5,
    2.0,
    2.5,
    5.0,
    10.0,
    15.0,
    20.0,
    30.0,
    40.0,
    50.0,
    60.0,
    120.0,
    240.0,
    480.0,
    960.0,
)


QUEUED_S = (0.001, 0.01, 0.1, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Histogram:
    """Counts per bucket. Plainer than prometheus_client's, which takes a lock per observation; ours is per token."""

    __slots__ = ("_bounds", "_counts", "_help", "_name", "_sum")

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self._name, self._help, self._bounds = name, text, bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float, count: int = 1) -> None:
        """Add `count` observations of a value."""
        self._counts[bisect.bisect_left(self._bounds, value)] += count
        self._sum += value * count

    def family(self, model: str) -> Metric:
        """For exposition."""
        total, buckets = 0, []
        for bound, count in zip((*self._bounds, "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((str(bound), total))
        family = HistogramMetricFamily(PREFIX + self._name, self._help, labels=["model_name"])
        family.add_metric([model], buckets, self._sum)
        return family


class Metrics:
    """What the server counts itself, and how it shows what the engine counts.

    prompt_tokens, cached_tokens, generation_tokens   as the usage of the answers has them
    """

    def __init__(self, model: str, info: EngineInfo) -> None:
        self._model = model
        self._info = info
        self.first_token = Histogram(
            "time_to_first_token_seconds", "From submission to the first token", FIRST_TOKEN_S
        )
        self.between_tokens = Histogram(
            "inter_token_latency_seconds", "From one token to the next", BETWEEN_TOKENS_S
        )
        self.whole = Histogram(
            "e2e_request_latency_seconds", "From submission to the last token", WHOLE_S
        )
        self.queued = Histogram(
            "request_queue_time_seconds", "From arrival in the engine to the first step", QUEUED_S
        )
        self.traffic = Traffic()
        self.finished = dict.fromkeys(FinishReason, 0)
        self.prompt_tokens = self.cached_tokens = self.generation_tokens = 0
        self._stats, self._healthy = EngineStats(), True
        self._registry = prometheus_client.CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def timing(self) -> Timing:
        """A stopwatch for a request that starts now."""
        return Timing(self)

    def exposition(self, stats: EngineStats, healthy: bool = True) -> bytes:
        """All metrics, in Prometheus' text format."""
        self._stats, self._healthy = stats, healthy
        return prometheus_client.generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """Called by prometheus_client."""
        stats, blocks = self._stats, max(1, self._info.num_blocks)
        yield self._gauge("engine_up", "1 while the engine lives", float(self._healthy))
        yield self._gauge("num_requests_running", "Requests that run", stats.running)
        yield self._gauge("num_requests_waiting", "Requests that wait", stats.waiting)
        yield self._gauge(
            "num_queue_tokens",
            "Tokens of requests that run or wait, prompts and what they may generate",
            stats.queue_tokens,
        )
        yield self._gauge(
            "kv_cache_usage_perc", "Cache blocks in use, 1 is all", stats.blocks_used / blocks
        )
        yield self._gauge(
            "kv_cache_cached_perc", "Cache blocks kept for reuse", stats.blocks_cached / blocks
        )
        yield from self._tiers(stats)
        yield from self._tokens(stats)
        yield self._counter("num_preemptions", "Preempted requests", stats.total_preemptions)
        yield self._counter(
            "engine_restarts", "Engine processes started again", stats.total_restarts
        )
        yield self._counter("engine_steps", "Steps of the engine", stats.total_steps)
        success = CounterMetricFamily(
            PREFIX + "request_success",
            "Requests by how they ended",
            labels=["model_name", "finished_reason"],
        )
        for reason, count in self.finished.items():
            success.add_metric([self._model, reason.value], count)
        yield success
        for histogram in (self.queued, self.first_token, self.between_tokens, self.whole):
            yield histogram.family(self._model)
        yield from self.traffic.families(PREFIX, self._model)
        yield from processes(PREFIX, stats.pid)

    def _tiers(self, stats: EngineStats) -> Iterable[Metric]:
        """What lies below the cache."""
        yield self._gauge("kv_host_blocks", "Cache blocks in host memory", stats.blocks_host)
        yield self._gauge("kv_disk_blocks", "Cache blocks on disk", stats.blocks_disk)
        for name, text, value in (
            ("kv_saved_blocks", "Cache blocks copied off the device", stats.total_saved_blocks),
            ("kv_restored_blocks", "Cache blocks copied back to it", stats.total_restored_blocks),
            (
                "kv_disk_errors",
                "Reads and writes of cache blocks on disk that failed",
                stats.total_disk_errors,
            ),
        ):
            yield self._counter(name, text, value)

    def _tokens(self, stats: EngineStats) -> Iterable[Metric]:
        """What was answered; and what the engine did for it, n choices and tokens after a stop string included."""
        cached = "Prompt tokens taken from the prefix cache"
        yield self._counter("prompt_tokens", "Prompt tokens", self.prompt_tokens)
        yield self._counter("cached_prompt_tokens", cached, self.cached_tokens)
        yield self._counter("generation_tokens", "Generated tokens", self.generation_tokens)
        engine = "%s, as the engine counts"
        for name, text, value in (
            ("prompt_tokens", "Prompt tokens", stats.total_prompt_tokens),
            ("cached_prompt_tokens", cached, stats.total_cached_tokens),
            ("generation_tokens", "Generated tokens", stats.total_generated_tokens),
        ):
            yield self._counter(f"engine_{name}", engine % text, value)

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        family = GaugeMetricFamily(PREFIX + name, text, labels=["model_name"])
        family.add_metric([self._model], value)
        return family

    def _counter(self, name: str, text: str, value: float) -> Metric:
        family = CounterMetricFamily(PREFIX + name, text, labels=["model_name"])
        family.add_metric([self._model], value)
        return family


class Timing:
    """When the tokens of one request came, in seconds of time.perf_counter.

    waited_s  until a step of the engine took it up; below 0 where nobody says
    first     0 before there is one
    """

    __slots__ = ("_metrics", "first", "last", "started", "waited_s")

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self.started = time.perf_counter()
        self.waited_s = -1.0
        self.first = self.last = 0.0

    def waited(self, microseconds: int) -> None:
        """The engine has said how long it was in the line."""
        if microseconds >= 0:
            self.waited_s = microseconds * 1e-6
            self._metrics.queued.observe(self.waited_s)

    def tokens(self, count: int) -> None:
        """New tokens are there; those that come together share the time since the last, none after the very first."""
        if not count:
            return
        now = time.perf_counter()
        if self.last:
            self._metrics.between_tokens.observe((now - self.last) / count, count)
        else:
            self.first = now
            self._metrics.first_token.observe(now - self.started)
            if count > 1:
                self._metrics.between_tokens.observe(0.0, count - 1)
        self.last = now

    def finished(self, reason: FinishReason) -> None:
        """The request has ended."""
        self._metrics.finished[reason] += 1
        self._metrics.whole.observe(time.perf_counter() - self.started)
