"""Prometheus for the local runtime: what it scrapes, and how it is started.

Its configuration stays; the targets are a file of their own that it watches, because predictors come and go
with every rollout.
"""

import os
import shutil
import sys
from pathlib import Path
from typing import Any, NoReturn

import yaml

from serving.components import API, EXPORTER, FEEDBACK, GATEWAY, RuntimeState
from serving.files import replace_json, replace_text
from serving.ports import HOST, claim
from serving.settings import CHECKOUT, ServingSettings

RULES = CHECKOUT / "monitoring" / "alerts.yaml"
"""Recording rules and alerts; a cluster's Prometheus takes the same file."""

JOB = "rentals-{component}"
"""By which the rules know a component's targets."""

PREDICTOR = "predictor"
"""Component of the Triton servers, and the label with their predictor's name."""

RETENTION = "30d"
"""How long samples are kept: long enough to look at the last rollouts."""


class PrometheusInstallationError(RuntimeError):
    """There is no Prometheus; the message names the remedy."""


def configuration_path(settings: ServingSettings) -> Path:
    """File that Prometheus is started with."""
    return settings.run / "prometheus.yml"


def targets_path(settings: ServingSettings) -> Path:
    """File of the targets, which Prometheus reads again whenever it changes."""
    return settings.run / "prometheus-targets.json"


def write_configuration(settings: ServingSettings) -> None:
    """Write what Prometheus is started with: the targets name their own jobs and paths."""
    targets = {
        "job_name": "runtime",
        "file_sd_configs": [{"files": [str(targets_path(settings).absolute())]}],
    }
    interval = f"{settings.scrape_seconds}s"
    document = {
        "global": {"scrape_interval": interval, "evaluation_interval": interval},
        "rule_files": [str(RULES)],
        "scrape_configs": [targets],
    }
    replace_text(configuration_path(settings), yaml.safe_dump(document, sort_keys=False))


def write_targets(state: RuntimeState | None, settings: ServingSettings) -> None:
    """Write where the components' metrics are; None is a runtime that is down."""
    replace_json(targets_path(settings), render_targets(state) if state else [])


def render_targets(state: RuntimeState) -> list[dict[str, Any]]:
    """Return each component's address with its job, as Prometheus's ``file_sd_configs`` read it."""
    return [
        _target(API, state.api),
        _target(GATEWAY, state.gateway.admin, __metrics_path__="/stats/prometheus"),
        _target(FEEDBACK, state.feedback),
        _target(EXPORTER, state.exporter),
        *(_target(PREDICTOR, ports.metrics, predictor=name) for name, ports in state.predictors.items()),
    ]


def run(settings: ServingSettings) -> NoReturn:
    """Become Prometheus, until interrupted; it finds what is started later.

    Raises:
        PrometheusInstallationError: it is not installed.
        PortTakenError: the port that the settings name is in use.
    """
    port = claim(settings.prometheus_port, "RENTALS_PROMETHEUS_PORT", set())
    arguments = command(settings, port)
    write_configuration(settings)
    if not targets_path(settings).exists():
        write_targets(None, settings)
    sys.stdout.write(f"Prometheus: http://{HOST}:{port}\n")
    sys.stdout.flush()
    os.execv(arguments[0], arguments)  # noqa: S606


def command(settings: ServingSettings, port: int) -> list[str]:
    """Command line of Prometheus at ``port`` of 127.0.0.1.

    Raises:
        PrometheusInstallationError: it is not installed.
    """
    program = shutil.which("prometheus")
    if program is None:
        remedy = "`apt-get install prometheus`, or put the binary on PATH"
        raise PrometheusInstallationError(f"there is no Prometheus: {remedy}")
    return [
        program,
        f"--config.file={configuration_path(settings)}",
        f"--storage.tsdb.path={settings.home / 'prometheus'}",
        f"--storage.tsdb.retention.time={RETENTION}",
        f"--web.listen-address={HOST}:{port}",
        "--log.level=warn",
    ]


def _target(component: str, port: int, **labels: str) -> dict[str, Any]:
    return {"targets": [f"{HOST}:{port}"], "labels": {"job": JOB.format(component=component), **labels}}
