"""The local runtime: brings Triton, Envoy, the API and their companions to the state of a manifest."""

import contextlib
import fcntl
import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from serving import components, manifest, prometheus
from serving.components import RuntimeState
from serving.envoy import FEEDBACK_CLUSTER, render_bootstrap
from serving.feedback_server import check_installation
from serving.files import replace_json
from serving.gateway import Gateway
from serving.ports import HOST
from serving.seldon import SeldonDeployment
from serving.settings import ServingSettings
from serving.supervision import Program, Supervisor
from serving.triton_server import find_installation

POLL_SECONDS = 0.1
"""Time between two looks at a component which starts."""

REPOSITORY_FAULT = "its config.pbtxt or its folder 1 is not as Triton wants it"

LOG_LINES = 8
"""Lines of a component's log that an error shows."""


class RuntimeFailure(RuntimeError):  # noqa: N818 - RuntimeError itself is taken
    """A component of the local runtime does not come up; what was served before still is."""


def apply(deployment: SeldonDeployment, settings: ServingSettings) -> RuntimeState:
    """Serve what the deployment says, and return where.

    Missing predictors are started, and get traffic only when every predictor is ready; predictors that are
    no longer named leave the routes first and are stopped when their last request is answered. The same
    deployment a second time changes nothing.

    Raises:
        ManifestError: a predictor's model is not on this machine or is damaged, or the API asks for another.
        TritonInstallationError: there is no Triton.
        FeedbackInstallationError: there is no seldon-core.
        PortTakenError: a port which a setting names is in use.
        RuntimeFailure: a component does not come up; routes and running predictors are as before.
    """
    components.check_served(deployment, settings)
    find_installation(settings)
    check_installation(settings)
    with _locked(settings):
        supervisor = Supervisor(settings)
        state = _start(supervisor, settings)
        wanted = [predictor.name for predictor in deployment.spec.predictors]
        former = set(state.predictors)
        for predictor in deployment.spec.predictors:
            components.add_predictor(state, predictor, settings)
        prometheus.write_configuration(settings)
        _save(state, settings)
        files = components.gateway_files(settings)
        replace_json(files.bootstrap, render_bootstrap(files, state.gateway))
        programs = components.programs(state, settings)
        gateway_runs = components.GATEWAY in supervisor.processes()
        supervisor.reconcile(programs if gateway_runs else _without_gateway(programs))
        try:
            for name in wanted:
                _wait_for_model(name, deployment.model_name, state, settings)
        except RuntimeFailure:
            if former:
                _keep_predictors(former, state, supervisor, settings)
            else:
                _stop(supervisor, settings)
            raise
        _route(deployment, state, supervisor, settings)
        manifest.save(deployment, applied_path(settings))
        _keep_predictors(set(wanted), state, supervisor, settings)
        _wait(components.API, lambda: _answers(f"{state.api_url}/healthz"), settings)
        _wait(components.FEEDBACK, lambda: _answers(f"{state.feedback_url}/health/ping"), settings)
        _wait(components.EXPORTER, lambda: _answers(state.exporter_url), settings)
        return state


def down(settings: ServingSettings) -> None:
    """Stop every component of this home; no process of it is left."""
    with _locked(settings):
        _stop(Supervisor(settings), settings)


def applied_path(settings: ServingSettings) -> Path:
    """File of the manifest which is in force."""
    return settings.run / "manifest.yaml"


def applied(settings: ServingSettings) -> SeldonDeployment | None:
    """The deployment which was applied last, or None before the first."""
    path = applied_path(settings)
    return _load_once(path, path.stat().st_mtime_ns) if path.exists() else None


@functools.lru_cache(maxsize=1)
def _load_once(path: Path, changed: int) -> SeldonDeployment:
    """Read a manifest once per change; the API asks for it at every failed answer."""
    return manifest.load(path)


def open_gateway(state: RuntimeState, settings: ServingSettings) -> Gateway:
    """The running Envoy of a runtime."""
    return Gateway(components.gateway_files(settings), state.gateway)


def _start(supervisor: Supervisor, settings: ServingSettings) -> RuntimeState:
    """Have supervisord run, and return the state with which its components run."""
    settings.run.mkdir(parents=True, exist_ok=True)
    state = components.load_state(settings)
    if supervisor.is_alive() and state:
        components.move_ports(state, settings)
        return state
    supervisor.shutdown()
    state = components.check_ports(state, settings) if state else components.new_state(settings)
    # Nothing runs: predictors of before are started only if the deployment still names them.
    state.predictors, state.repositories = {}, {}
    supervisor.start()
    return state


def _stop(supervisor: Supervisor, settings: ServingSettings) -> None:
    supervisor.shutdown()
    components.forget_state(settings)
    prometheus.write_targets(None, settings)


def _save(state: RuntimeState, settings: ServingSettings) -> None:
    """Write the state, and where its metrics are."""
    components.save_state(state, settings)
    prometheus.write_targets(state, settings)


def _route(
    deployment: SeldonDeployment, state: RuntimeState, supervisor: Supervisor, settings: ServingSettings
) -> None:
    """Put the deployment's weights in force."""
    http_ports = {
        predictor.name: state.predictors[predictor.name].http for predictor in deployment.spec.predictors
    }
    http_ports[FEEDBACK_CLUSTER] = state.feedback
    gateway = open_gateway(state, settings)
    if components.GATEWAY not in supervisor.processes():
        gateway.write_initial(deployment, http_ports)
        supervisor.reconcile(components.programs(state, settings))
        _wait(components.GATEWAY, gateway.is_ready, settings)
    else:
        _wait(components.GATEWAY, gateway.is_ready, settings)
        gateway.change(deployment, http_ports, settings.drain_seconds)


def _without_gateway(programs: dict[str, Program]) -> dict[str, Program]:
    return {name: program for name, program in programs.items() if name != components.GATEWAY}


def _keep_predictors(
    names: set[str], state: RuntimeState, supervisor: Supervisor, settings: ServingSettings
) -> None:
    """Stop all predictors but these."""
    state.predictors = {name: ports for name, ports in state.predictors.items() if name in names}
    state.repositories = {name: path for name, path in state.repositories.items() if name in names}
    programs = components.programs(state, settings)
    gateway_runs = components.GATEWAY in supervisor.processes()
    supervisor.reconcile(programs if gateway_runs else _without_gateway(programs))
    _save(state, settings)


def _wait_for_model(name: str, model: str, state: RuntimeState, settings: ServingSettings) -> None:
    base = f"http://{HOST}:{state.predictors[name].http}/v2"

    def is_ready() -> bool:
        ready = _answers(f"{base}/health/ready") and _answers(f"{base}/models/{model}/ready")
        if not ready and (reason := _refusal(base, model)):
            log = settings.logs / f"{components.predictor_program(name)}.log"
            raise RuntimeFailure(f"predictor {name!r} does not load its model: {reason}; see {log}")
        return ready

    _wait(components.predictor_program(name), is_ready, settings, settings.predictor_start_seconds)


def _refusal(base: str, model: str) -> str | None:
    """Why a server has given up its model, if it has; it answers only after it has tried."""
    try:
        models = httpx.post(f"{base}/repository/index", trust_env=False).json()
    except (httpx.HTTPError, ValueError):
        return None
    states = {entry["name"]: entry for entry in models if "state" in entry}
    if model not in states:
        return f"{REPOSITORY_FAULT}; write it anew by serving.triton.write_repository"
    # Below the first line stands where in Triton it happened.
    reason = str(states[model].get("reason", "")).partition("\n")[0]
    return reason if states[model]["state"] == "UNAVAILABLE" else None


def _wait(
    program: str, is_ready: Callable[[], bool], settings: ServingSettings, seconds: float | None = None
) -> None:
    """Wait for a component.

    Raises:
        RuntimeFailure: it has died or is late; the message shows the end of its log.
    """
    seconds = seconds or settings.component_start_seconds
    deadline = time.monotonic() + seconds
    while not is_ready():
        state = Supervisor(settings).processes()[program].state
        if state == "FATAL" or time.monotonic() > deadline:
            log = settings.logs / f"{program}.log"
            tail = (
                "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:]) if log.exists() else ""
            )
            raise RuntimeFailure(f"{program} ({state}) is not ready after {seconds:g} s; see {log}:\n{tail}")
        time.sleep(POLL_SECONDS)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.HTTPError:
        return False


@contextlib.contextmanager
def _locked(settings: ServingSettings) -> Iterator[None]:
    """One change of the runtime at a time; a second one waits."""
    settings.run.mkdir(parents=True, exist_ok=True)
    with (settings.run / "runtime.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
