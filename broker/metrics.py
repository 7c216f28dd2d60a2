"""What this process counts, for Prometheus. Labels are few and bounded: never a session,
a request or a name that a stranger could choose."""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from broker.relay.exchange import Exchange
from broker.wire import Usage

#: Outcomes with a name of their own; backends make up codes.
_OUTCOMES = 64
_SECONDS = (0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=True)
        self._answers = Counter("broker_http_answers", "HTTP answers by status", ["status"], registry=self._registry)
        self._requests = Counter(
            "broker_requests", "inference requests and turns by how they ended", ["operation", "outcome"], registry=self._registry
        )
        self._seconds = Histogram(
            "broker_request_seconds", "time from accepting a request to its end", ["operation"],
            buckets=_SECONDS, registry=self._registry,
        )
        self._tokens = Counter(
            "broker_tokens", "tokens as publishers report them, by kind", ["kind"], registry=self._registry
        )
        self._prompt_tokens, self._completion_tokens = self._tokens.labels("prompt"), self._tokens.labels("completion")
        self.channels = Gauge("broker_channels", "publishers' channels open at this replica", registry=self._registry)
        self._running = Gauge("broker_requests_running", "requests that wait for their end", registry=self._registry)
        self._llms = Gauge("broker_llms", "LLM rows by status", ["status"], registry=self._registry)
        self._by_status: dict[int, object] = {}
        self._outcomes = {"ok", "broken", "client_gone", "client_too_slow"}

    def answered(self, status: int) -> None:
        counter = self._by_status.get(status)
        if counter is None:
            counter = self._by_status[status] = self._answers.labels(str(status))
        counter.inc()

    def relayed(self, operation: str, outcome: str, exchange: Exchange) -> None:
        self._ended(operation, outcome, exchange.started_at)

    def turned(self, outcome: str, began_at: float) -> None:
        """A turn is one, however often its LLM was asked. ``began_at``: by the loop's clock."""
        self._ended("turn", outcome, began_at)

    def used(self, usage: Usage) -> None:
        self._prompt_tokens.inc(usage.prompt_tokens)
        self._completion_tokens.inc(usage.completion_tokens)

    def _ended(self, operation: str, outcome: str, began_at: float) -> None:
        if len(self._outcomes) < _OUTCOMES:
            self._outcomes.add(outcome)
        self._requests.labels(operation, outcome if outcome in self._outcomes else "other").inc()
        self._seconds.labels(operation).observe(asyncio.get_running_loop().time() - began_at)

    def text(self, *, running: int, llms: list) -> bytes:
        """The exposition format, with the gauges as they are now."""
        self._running.set(running)
        for status in ("active", "inactive", "hibernating"):
            self._llms.labels(status).set(sum(llm.status == status for llm in llms))
        return generate_latest(self._registry)
