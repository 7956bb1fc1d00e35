"""What the local runtime does at the moment."""

from dataclasses import dataclass

import httpx

from serving import components, runtime
from serving.gateway import GatewayError
from serving.ports import HOST
from serving.processes import find_marked
from serving.settings import ServingSettings
from serving.supervision import ProcessState, Supervisor


@dataclass(frozen=True)
class PredictorStatus:
    """One predictor: its share, its health and what Envoy counted for it."""

    name: str
    weight: int
    shadow: bool
    ready: bool
    pid: int | None
    http_port: int | None
    grpc_port: int | None
    metrics_port: int | None
    requests: int
    errors: int
    latency_p95_ms: float | None
    latency_p99_ms: float | None


@dataclass(frozen=True)
class RuntimeStatus:
    """The components, and the predictors of the applied manifest."""

    running: bool
    """Whether supervisord is alive."""

    api_url: str | None
    gateway_url: str | None
    feedback_url: str | None
    """Where the feedback component listens, with the rewards for Prometheus at ``/metrics``."""

    exporter_url: str | None
    """Where the figures of runtime, flows and rollouts are for Prometheus."""

    components: list[ProcessState]
    predictors: list[PredictorStatus]
    orphans: list[int]
    """Processes that a dead supervisord has left: they may answer still, but nothing restarts them.

    ``down`` ends them, and so does the next ``up``.
    """


def status(settings: ServingSettings) -> RuntimeStatus:
    """Return the state of the runtime; one that is down is a state, too."""
    supervisor = Supervisor(settings)
    state = components.load_state(settings)
    deployment = runtime.applied(settings)
    if state is None or not supervisor.is_alive():
        return RuntimeStatus(False, None, None, None, None, [], [], sorted(find_marked(settings.home)))
    processes = supervisor.processes()
    predictors = deployment.spec.predictors if deployment else []
    try:
        counted = runtime.open_gateway(state, settings).stats(predictor.name for predictor in predictors)
    except GatewayError:
        counted = {}
    found = []
    for predictor in predictors:
        ports = state.predictors.get(predictor.name)
        process = processes.get(components.predictor_program(predictor.name))
        stats = counted.get(predictor.name)
        found.append(
            PredictorStatus(
                name=predictor.name,
                weight=predictor.traffic,
                shadow=predictor.shadow,
                ready=ports is not None and _is_ready(ports.http, predictor.graph.name),
                pid=process.pid if process else None,
                http_port=ports.http if ports else None,
                grpc_port=ports.grpc if ports else None,
                metrics_port=ports.metrics if ports else None,
                requests=stats.requests if stats else 0,
                errors=stats.errors if stats else 0,
                latency_p95_ms=stats.latency_p95_ms if stats else None,
                latency_p99_ms=stats.latency_p99_ms if stats else None,
            )
        )
    return RuntimeStatus(
        running=True,
        api_url=state.api_url,
        gateway_url=state.gateway_url,
        feedback_url=state.feedback_url,
        exporter_url=state.exporter_url,
        components=list(processes.values()),
        predictors=found,
        orphans=[],
    )


def _is_ready(http_port: int, model: str) -> bool:
    try:
        return httpx.get(f"http://{HOST}:{http_port}/v2/models/{model}/ready", trust_env=False).is_success
    except httpx.HTTPError:
        return False
