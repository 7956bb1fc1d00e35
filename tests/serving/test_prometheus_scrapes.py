"""A real Prometheus beside the real runtime: it sees all that runs, and counts what was asked."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pandas as pd
import pytest
from prometheus_server import PATIENCE, PrometheusServer, metric_names, prometheus_server, queries

from feature_repo.settings import FeatureSettings
from flows import metrics, retraining
from flows.settings import FlowSettings
from monitoring import quarantine
from monitoring.drift_report import DriftReport, FeatureDrift
from serving.client import RecommenderClient
from serving.components import RuntimeState
from serving.decision import Arm
from serving.prometheus import write_configuration
from serving.rollout import rollout
from serving.settings import ServingSettings

pytestmark = pytest.mark.slow
QUESTIONS = 20
COMPONENTS = ("rentals-api", "rentals-envoy", "rentals-feedback", "rentals-exporter")
"""Jobs beside those of the predictors."""


@pytest.fixture
def prometheus(served: ServingSettings, apply: Callable[..., RuntimeState]) -> Iterator[PrometheusServer]:
    """It scrapes a runtime that serves version 3."""
    apply({"v3": 100})
    write_configuration(served.model_copy(update={"scrape_seconds": 1}))
    with prometheus_server(served) as server:
        yield server


@pytest.fixture
def flows_ran(served: ServingSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that flows tell, by the functions with which they tell it."""
    monkeypatch.setenv("RENTALS_HOME", str(served.home))
    settings = FeatureSettings()
    quarantine.write(
        pd.DataFrame({"rating_id": ["g1"], "reason": ["odd"]}), "ratings", "b", settings.lake / "quarantine"
    )
    metrics.ingested({"landed": {"ratings": 9}}, {"ratings": 0.1}, settings)
    metrics.features(pd.Timestamp("2026-05-01", tz="UTC"), {"user": 4})
    price = FeatureDrift("price", "numeric", "chi-square", 0.001, 0.002, {"psi": 0.3}, True, "it moved")
    metrics.drift(DriftReport((price,), None, (), 30, 30))
    judged = SimpleNamespace(metric="rmse", version="3", current=1.2, reference=1.0, limit=1.1, alarm=True)
    metrics.performance([judged])
    retraining.stop(FlowSettings(), "holidays")


def wait_for(wanted: Any, found: Callable[[], Any]) -> None:
    """Wait until Prometheus has found what is wanted, and say what it has found otherwise."""
    deadline = time.monotonic() + PATIENCE
    while found() != wanted and time.monotonic() < deadline:
        time.sleep(0.1)
    assert found() == wanted


def targets(server: PrometheusServer) -> dict[str, str]:
    """Health by job, for predictors by their name."""
    return {
        target["labels"].get("predictor", target["labels"]["job"]): target["health"]
        for target in server.get("targets", state="active")["activeTargets"]
    }


def test_what_was_asked_is_what_prometheus_counts_at_every_station(
    prometheus: PrometheusServer, apply: Callable[..., RuntimeState]
) -> None:
    stations = [
        'sum(rentals_api_requests_total{route="/users/{user_id:id}/recommendations",status="200"})',
        'rentals_api_recommendations_total{predictor="v3"}',
        'envoy_cluster_upstream_rq_completed{envoy_cluster_name="v3"}',
        'nv_inference_request_success{predictor="v3",model="rental-recommender"}',
    ]
    state = apply({"v3": 100})
    with RecommenderClient(state.api_url) as client:
        client.recommendations("u0")
        # The API counts an answer when its last byte is on the way: a moment later all stations have done so.
        counted_by = time.time() + 1
        wait_for(len(COMPONENTS) + 1, lambda: prometheus.value(f"count(timestamp(up) > {counted_by})"))
        before = {query: prometheus.value(query) or 0 for query in stations}
        for number in range(QUESTIONS):
            client.recommendations(f"u{number}")

    def counted() -> dict[str, float]:
        return {query: (prometheus.value(query) or 0) - before[query] for query in stations}

    wait_for(dict.fromkeys(stations, QUESTIONS), counted)


def test_prometheus_follows_a_rollout_and_every_name_that_is_asked_for_is_there(
    prometheus: PrometheusServer, served: ServingSettings, apply: Callable[..., RuntimeState], flows_ran: None
) -> None:
    components = dict.fromkeys(COMPONENTS, "up")
    wait_for(components | {"v3": "up"}, lambda: targets(prometheus))
    state = apply({"v3": 100})
    with RecommenderClient(state.api_url) as client:
        answer = client.recommendations("u0")
        client.feedback(answer.request_id, "u0", answer.items[0].rental_id, rating=5)

    rollout(4, served, (50, 100), arms=lambda *_: (Arm(900, 0), Arm(900, 0)), again=True)

    wait_for(components | {"v4": "up"}, lambda: targets(prometheus))
    asked_for = set.union(*map(metric_names, queries()))
    wait_for(set(), lambda: asked_for - set(prometheus.get("label/__name__/values")))
    for query in queries():
        prometheus.get("query", query=query)
    groups = prometheus.get("rules")["groups"]
    assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}
    firing = [alert for alert in prometheus.get("alerts")["alerts"] if alert["state"] == "firing"]
    assert {"DriftFound", "PerformanceAlarm"} <= {alert["labels"]["alertname"] for alert in firing}
    assert "error" not in str([alert["annotations"] for alert in firing])


def test_what_our_components_expose_is_as_prometheus_wants_it(
    served: ServingSettings, apply: Callable[..., RuntimeState], flows_ran: None
) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    state = apply({"v3": 100})
    for url in (f"{state.api_url}/metrics", f"{state.feedback_url}/metrics", state.exporter_url):
        exposed = httpx.get(url, trust_env=False).raise_for_status().content
        checked = subprocess.run(
            [program, "check", "metrics"], input=exposed, capture_output=True, check=False
        )
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
