"""The running Envoy: changes its routes without a failed request, and reads what it counted."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from serving import envoy
from serving.files import replace_json
from serving.seldon import SeldonDeployment

POLL_SECONDS = 0.02
"""Time between two looks at the admin address."""

LATENCY = "upstream_rq_time"


class GatewayError(RuntimeError):
    """Envoy does not answer or does not take a configuration."""


@dataclass(frozen=True)
class PredictorStats:
    """What Envoy counted for a predictor since its cluster exists."""

    requests: int
    """Requests that were answered, by whatever route."""

    pinned: int
    """Those of them that were pinned by the header, so that they say nothing of the weights."""

    errors: int
    """Answers of class 5xx, those that Envoy gave for a predictor out of reach among them."""

    latency_p50_ms: float | None
    latency_p95_ms: float | None
    latency_p99_ms: float | None

    @property
    def weighted(self) -> int:
        """Requests that came by the weighted route."""
        return self.requests - self.pinned


class Gateway:
    """Envoy by its configuration files and its admin address."""

    def __init__(self, files: envoy.GatewayFiles, ports: envoy.GatewayPorts) -> None:
        self._files = files
        self._admin = httpx.Client(base_url=f"http://{envoy.HOST}:{ports.admin}", timeout=5, trust_env=False)

    def write_initial(self, deployment: SeldonDeployment, http_ports: Mapping[str, int]) -> None:
        """Write clusters and routes for an Envoy which does not run yet."""
        replace_json(self._files.clusters, envoy.render_clusters(http_ports))
        replace_json(self._files.routes, envoy.render_routes(deployment))

    def change(self, deployment: SeldonDeployment, http_ports: Mapping[str, int], seconds: float) -> None:
        """Route as the deployment says; clusters that leave do so after their last request.

        New clusters come before the routes that name them, old ones go after: no request meets a route
        without a cluster.

        Args:
            deployment: the wanted state.
            http_ports: port by name of every cluster that the routes lead to.
            seconds: longest wait for each step.

        Raises:
            GatewayError: Envoy refuses the configuration or does not take it in time.
        """
        present = self.clusters()
        leaving = {name: port for name, port in present.items() if name not in http_ports}
        self._take_clusters({**leaving, **http_ports}, seconds)
        routes = envoy.render_routes(deployment)
        replace_json(self._files.routes, routes)
        self._wait_for(f"http.gateway.rds.{envoy.ROUTES}", envoy.version_of(routes), seconds)
        if leaving:
            self._drain(leaving, seconds)
            self._take_clusters(http_ports, seconds)

    def clusters(self) -> dict[str, int]:
        """Port of every cluster which Envoy has, by name."""
        statuses = self._get("/clusters", format="json").json().get("cluster_statuses", [])
        return {
            status["name"]: status["host_statuses"][0]["address"]["socket_address"]["port_value"]
            for status in statuses
        }

    def is_ready(self) -> bool:
        """Whether Envoy listens with a complete configuration."""
        try:
            return self._admin.get("/ready").is_success
        except httpx.TransportError:
            return False

    def stats(self, predictors: Iterable[str]) -> dict[str, PredictorStats]:
        """Counters and latencies by the name of the predictor."""
        counters, latencies = self._statistics(r"\.upstream_rq_(completed|5xx|time)$")
        statistics = {}
        for name in predictors:
            cluster = f"cluster.{name}"
            pins = f"vhost.{envoy.ROUTES}.route.{envoy.pin_statistics(name)}"
            quantiles = latencies.get(f"{cluster}.{LATENCY}", {})
            statistics[name] = PredictorStats(
                requests=counters.get(f"{cluster}.upstream_rq_completed", 0),
                pinned=counters.get(f"{pins}.upstream_rq_completed", 0),
                errors=counters.get(f"{cluster}.upstream_rq_5xx", 0),
                latency_p50_ms=quantiles.get(50.0),
                latency_p95_ms=quantiles.get(95.0),
                latency_p99_ms=quantiles.get(99.0),
            )
        return statistics

    def _take_clusters(self, http_ports: Mapping[str, int], seconds: float) -> None:
        clusters = envoy.render_clusters(http_ports)
        replace_json(self._files.clusters, clusters)
        self._wait_for("cluster_manager.cds", envoy.version_of(clusters), seconds)

    def _drain(self, clusters: Iterable[str], seconds: float) -> None:
        names = [f"cluster.{name}.upstream_rq_active" for name in clusters]
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            counters, _ = self._statistics(r"\.upstream_rq_active$")
            if not any(counters.get(name, 0) for name in names):
                return
            time.sleep(POLL_SECONDS)

    def _wait_for(self, subscription: str, version: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        name = f"{subscription}.version_text"
        while True:
            found = self._get("/stats", filter=f"^{name}$", type="TextReadouts").text
            if found.partition(": ")[2].strip().strip('"') == version:
                return
            if time.monotonic() > deadline:
                raise GatewayError(
                    f"Envoy has not taken {subscription} {version} in {seconds:g} s; see envoy.log"
                )
            time.sleep(POLL_SECONDS)

    def _statistics(self, pattern: str) -> tuple[dict[str, int], dict[str, dict[float, float]]]:
        """Counters and gauges by name, and the quantiles of histograms in milliseconds by percentage."""
        counters: dict[str, int] = {}
        latencies: dict[str, dict[float, float]] = {}
        for entry in self._get("/stats", filter=pattern, format="json").json()["stats"]:
            if "value" in entry:
                counters[entry["name"]] = entry["value"]
            for histogram in [entry["histograms"]] if "histograms" in entry else []:
                supported = histogram["supported_quantiles"]
                for computed in histogram["computed_quantiles"]:
                    values = [value["cumulative"] for value in computed["values"]]
                    latencies[computed["name"]] = {
                        quantile: value
                        for quantile, value in zip(supported, values, strict=True)
                        if value is not None
                    }
        return counters, latencies

    def _get(self, path: str, **parameters: Any) -> httpx.Response:
        try:
            return self._admin.get(path, params=parameters).raise_for_status()
        except httpx.HTTPError as error:
            raise GatewayError(f"Envoy's admin address does not answer {path}: {error}") from error
