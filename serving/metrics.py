"""What the API counts for Prometheus."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import accumulate
from math import inf

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitoring.prediction_log import PredictionLog
from serving.messages import Degradation, Recommendations

LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds: an answer takes some milliseconds, and none takes longer than its deadlines."""

UNKNOWN_ROUTE = "unknown"
"""Label of requests for addresses that there are not, which would otherwise make a series each."""


class Metrics(Collector):
    """Counters of one application, which it shows at ``/metrics``.

    They are kept here, not in prometheus_client's own counters: Feast, when it is imported first, has these
    share a folder with every other application of the process. All is counted in the event loop's thread.
    """

    def __init__(self, log: PredictionLog) -> None:
        self._log = log
        self._requests: Counter[tuple[str, str, str]] = Counter()
        self._recommendations: Counter[tuple[str, str, str]] = Counter()
        self._degraded: Counter[str] = Counter()
        self._in_bucket: Counter[tuple[str, float]] = Counter()
        self._seconds: Counter[str] = Counter()
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request and its time."""
        self._requests[method, route, str(status)] += 1
        bucket = next((each for each in LATENCY_BUCKETS if seconds <= each), inf)
        self._in_bucket[route, bucket] += 1
        self._seconds[route] += seconds  # type: ignore[assignment]

    def recommendation(self, answer: Recommendations) -> None:
        """Count an answer with recommendations, and the steps by which it is degraded."""
        labels = answer.predictor, str(bool(answer.degraded)), str(answer.cold_start)
        self._recommendations[labels] += 1
        self.degraded(answer.degraded)

    def degraded(self, without: Iterable[Degradation]) -> None:
        """Count the steps by which an answer is less than it could be."""
        self._degraded.update(each.step for each in without)

    def collect(self) -> Iterator[Metric]:
        """Give what was counted, as Prometheus reads it."""
        requests = CounterMetricFamily(
            "rentals_api_requests", "Answered requests", labels=("method", "route", "status")
        )
        for labels, count in self._requests.items():
            requests.add_metric(labels, count)
        yield requests
        answers = CounterMetricFamily(
            "rentals_api_recommendations",
            "Answers with recommendations, by the predictor that gave them",
            labels=("predictor", "degraded", "cold_start"),
        )
        for labels, count in self._recommendations.items():
            answers.add_metric(labels, count)
        yield answers
        degraded = CounterMetricFamily("rentals_api_degraded", "What answers did without", labels=("step",))
        for step, count in self._degraded.items():
            degraded.add_metric((step,), count)
        yield degraded
        times = HistogramMetricFamily(
            "rentals_api_request_seconds", "Time to the end of an answer", labels=("route",)
        )
        for route, seconds in self._seconds.items():
            limits = (*LATENCY_BUCKETS, inf)
            counts = accumulate(self._in_bucket[route, limit] for limit in limits)
            buckets = [(floatToGoString(limit), count) for limit, count in zip(limits, counts, strict=True)]
            times.add_metric((route,), buckets, seconds)
        yield times
        yield CounterMetricFamily(
            "rentals_prediction_log_dropped", "Entries that could not be written", self._log.dropped
        )

    def install(self, app: FastAPI) -> None:
        """Count every request of ``app``, and show the counters."""
        app.add_middleware(_Counted, metrics=self)

        @app.get("/metrics", include_in_schema=False)
        async def metrics() -> Response:
            return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)


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
            self._metrics.request(scope["method"], route, status, time.perf_counter() - began)
