"""What the API counts for Prometheus."""

import time

from fastapi import FastAPI, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitoring.prediction_log import PredictionLog

LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds: an answer takes some milliseconds, and none takes longer than its deadlines."""

UNKNOWN_ROUTE = "unknown"
"""Label of requests for addresses that there are not, which would otherwise make a series each."""


class Metrics:
    """Counters of one application, which it shows at ``/metrics``."""

    def __init__(self, log: PredictionLog) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self.requests = Counter("rentals_api_requests", "Answered requests", labels, registry=self.registry)
        self.seconds = Histogram(
            "rentals_api_request_seconds",
            "Time to the end of an answer",
            ("route",),
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.recommendations = Counter(
            "rentals_api_recommendations",
            "Answers with recommendations, by the predictor that gave them",
            ("predictor", "degraded", "cold_start"),
            registry=self.registry,
        )
        Gauge(
            "rentals_prediction_log_dropped", "Entries that could not be written", registry=self.registry
        ).set_function(lambda: log.dropped)

    def install(self, app: FastAPI) -> None:
        """Count every request of ``app``, and show the counters."""
        app.add_middleware(_Counted, metrics=self)

        @app.get("/metrics", include_in_schema=False)
        async def metrics() -> Response:
            return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)


class _Counted:
    """ASGI middleware; a route's pattern is known when it has been called."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, seen)
        finally:
            route = getattr(scope.get("route"), "path", UNKNOWN_ROUTE)
            self._metrics.requests.labels(scope["method"], route, status).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - began)
