"""Counts and times for Prometheus; no label holds an id of a person."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class Metrics:
    """One registry a server.

    Args:
        waiting: returns how many requests wait for the ranker.
    """

    def __init__(self, waiting: Callable[[], int] = lambda: 0) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "recsys_requests", "Requests answered", ("method", "route", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "recsys_request_seconds", "Seconds until answered", ("route",), buckets=SECONDS, registry=self.registry
        )
        self._feedback = Counter("recsys_feedback", "What users said", ("model", "kind"), registry=self.registry)
        self._lists = Counter("recsys_lists", "Lists made", ("model",), registry=self.registry)
        self._shadow = Histogram(
            "recsys_shadow_overlap", "Share of a list that the shadow variant lists, too",
            buckets=[place / 10 for place in range(11)], registry=self.registry,
        )  # fmt: skip
        Gauge("recsys_waiting", "Requests that wait for the ranker", registry=self.registry).set_function(waiting)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def feedback(self, model: str, kind: str) -> None:
        """Count what was said of a variant's list."""
        self._feedback.labels(model, kind).inc()

    def listed(self, model: str, shadowed: float | None) -> None:
        """Count a list."""
        self._lists.labels(model).inc()
        if shadowed is not None:
            self._shadow.observe(shadowed)

    def page(self) -> bytes:
        """Return all of it as Prometheus reads it."""
        return generate_latest(self.registry)
