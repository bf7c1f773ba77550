"""Figures for Prometheus, of one app."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.responses import Response

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


class Metrics:
    """A registry of its own, so that several apps in a process do not mix."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "recsys_requests",
            "Requests answered, by the path's template.",
            ("route", "method", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "recsys_request_seconds",
            "Time in the service, from the request's headers to the last byte of the answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.shed = Counter(
            "recsys_requests_shed",
            "Requests turned away because too many were in work.",
            registry=self._registry,
        )
        self.begins = Gauge(
            "recsys_edition_begins_seconds",
            "Monday 00:00 UTC of the edition served, in Unix time; 0 while there is none.",
            registry=self._registry,
        )

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._requests.labels(route, method, status).inc()
        self._seconds.labels(route).observe(seconds)

    def response(self) -> Response:
        """All figures, as Prometheus scrapes them."""
        headers = {"cache-control": "no-store", "content-type": CONTENT_TYPE_LATEST}
        return Response(generate_latest(self._registry), headers=headers)
