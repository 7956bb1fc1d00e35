"""A real Prometheus for tests, and the names that its queries are made of."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import yaml

from serving import prometheus
from serving.ports import HOST, find_free
from serving.settings import CHECKOUT, ServingSettings

DASHBOARD = CHECKOUT / "monitoring" / "grafana" / "rentals.json"
PATIENCE = 60
"""Seconds until a Prometheus that should answer counts as dead."""

WORDS = {"and", "or", "unless", "bool", "offset"}


class PrometheusServer:
    """The HTTP interface of one."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False)

    def is_ready(self) -> bool:
        try:
            return self._client.get("/-/ready").is_success
        except httpx.TransportError:
            return False

    def get(self, path: str, **parameters: str) -> Any:
        return self._client.get(f"/api/v1/{path}", params=parameters).raise_for_status().json()["data"]

    def value(self, expression: str) -> float | None:
        """The only value of a query, None for none."""
        found = self.get("query", query=expression)["result"]
        return float(found[0]["value"][1]) if found else None


@contextmanager
def prometheus_server(settings: ServingSettings) -> Iterator[PrometheusServer]:
    """Prometheus as ``python -m serving prometheus`` starts it."""
    if shutil.which("prometheus") is None:
        pytest.skip("Prometheus is not installed: apt-get install prometheus")
    port = find_free(set())
    process = subprocess.Popen(prometheus.command(settings, port))
    try:
        server = PrometheusServer(f"http://{HOST}:{port}")
        deadline = time.monotonic() + PATIENCE
        while not server.is_ready():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        yield server
    finally:
        process.terminate()
        process.wait(PATIENCE)


def queries() -> list[str]:
    """Every expression of the dashboard and of the rules."""
    dashboard = json.loads(DASHBOARD.read_text())
    rules = yaml.safe_load(prometheus.RULES.read_text())
    return [
        *(target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])),
        *(each["expr"] for each in dashboard["annotations"]["list"]),
        *(rule["expr"] for group in rules["groups"] for rule in group["rules"]),
    ]


def metric_names(expression: str) -> set[str]:
    """The metrics that a query names: what is no label, function, number or word of PromQL."""
    for taken_out in (
        r'"[^"]*"',
        r"\{[^}]*\}",
        r"\[[^]]*\]",
        r"\b(by|on|without|ignoring|group_left)\s*\([^)]*\)",
    ):
        expression = re.sub(taken_out, " ", expression)
    names = re.findall(r"(?<![\w.:])([a-zA-Z_:][\w:]*)\b(?!\s*\()", expression)
    return set(names) - WORDS
