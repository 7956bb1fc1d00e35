"""Figures of the local runtime that no component has of itself: ``python -m serving.exporter --port PORT``.

What supervisord knows of the components, the weights in force, and what flows and rollouts have told
(``monitoring.batch_metrics``).
"""

import argparse
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from monitoring.batch_metrics import PublishedMetrics
from monitoring.settings import MonitoringSettings
from serving import runtime
from serving.manifest import ManifestError
from serving.ports import HOST
from serving.seldon import FULL_TRAFFIC
from serving.settings import ServingSettings
from serving.supervision import SupervisionError, Supervisor


class RuntimeMetrics(Collector):
    """The components as supervisord sees them, and the applied manifest."""

    def __init__(self, settings: ServingSettings) -> None:
        self._settings = settings

    def collect(self) -> Iterator[Metric]:
        """Ask supervisord, and read the manifest; what cannot be read hides nothing else."""
        yield from self._components()
        yield self._weights()

    def _components(self) -> Iterator[Metric]:
        try:
            components = list(Supervisor(self._settings).processes().values())
        except SupervisionError:
            components = []
        yield GaugeMetricFamily(
            "rentals_supervisor_up", "1 while supervisord answers, which restarts the rest", bool(components)
        )
        running = GaugeMetricFamily(
            "rentals_component_running", "1 while a component runs, else 0", labels=("component",)
        )
        started = GaugeMetricFamily(
            "rentals_component_start_time_seconds", "When it was started last", labels=("component",)
        )
        for one in components:
            running.add_metric((one.name,), one.state == "RUNNING")
            started.add_metric((one.name,), one.started_at)
        yield from (running, started)

    def _weights(self) -> Metric:
        weights = GaugeMetricFamily(
            "rentals_predictor_weight_ratio",
            "Share of the traffic by the applied manifest; 0 for a shadow",
            labels=("predictor",),
        )
        try:
            deployment = runtime.applied(self._settings)
        except ManifestError:
            deployment = None
        for predictor in deployment.spec.predictors if deployment else []:
            weights.add_metric((predictor.name,), predictor.traffic / FULL_TRAFFIC)
        return weights


def registry(settings: ServingSettings) -> CollectorRegistry:
    """Return all that the exporter shows."""
    shown = CollectorRegistry()
    shown.register(RuntimeMetrics(settings))
    shown.register(PublishedMetrics(MonitoringSettings(home=settings.home)))
    return shown


def main() -> None:
    """Show the figures at ``/metrics`` until ended."""
    parser = argparse.ArgumentParser(prog="python -m serving.exporter", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    _, thread = start_http_server(parser.parse_args().port, HOST, registry(ServingSettings()))
    thread.join()


if __name__ == "__main__":
    main()
