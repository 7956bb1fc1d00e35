"""The components of the local runtime: which there are, on which ports, and how each is started."""

import hashlib
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ValidationError

from serving import envoy, feedback_server, triton_server
from serving.files import replace_text
from serving.manifest import ManifestError
from serving.ports import HOST, claim, find_free, is_free
from serving.seldon import Predictor, SeldonDeployment
from serving.settings import ServingSettings
from serving.supervision import Program
from serving.triton import ModelFileError, read_graph

API = "api"
FEEDBACK = "feedback"
GATEWAY = "envoy"
EXPORTER = "exporter"

API_SETTINGS = (
    "deployment_name",
    "namespace",
    "model_name",
    "inference_seconds",
    "features_seconds",
    "answer_seconds",
    "rental_cache_seconds",
    "user_cache_seconds",
    "requests_per_minute",
)
"""Settings which the API reads. A change of one restarts it, a change of any other leaves it alone."""

API_SERVER = (
    *("uvicorn", "serving.api:create_app", "--factory", "--no-access-log"),
    # It would take a caller on this machine for whom its X-Forwarded-For says, and limit nobody.
    "--no-proxy-headers",
)
"""The API's server, here and in its image; host and port follow."""


class StateError(RuntimeError):
    """The state of the runtime cannot be read; the message names the remedy."""


class RuntimeState(BaseModel):
    """Ports of the components on 127.0.0.1, kept for as long as the component exists."""

    gateway: envoy.GatewayPorts
    api: int
    feedback: int
    exporter: int
    predictors: dict[str, triton_server.TritonPorts] = {}
    repositories: dict[str, Path] = {}
    """Triton model repository by predictor."""

    @property
    def ports(self) -> set[int]:
        """Every port in use."""
        triton = {
            port for ports in self.predictors.values() for port in (ports.http, ports.grpc, ports.metrics)
        }
        return {self.gateway.gateway, self.gateway.admin, self.api, self.feedback, self.exporter} | triton

    @property
    def gateway_url(self) -> str:
        """Address of Envoy."""
        return f"http://{HOST}:{self.gateway.gateway}"

    @property
    def api_url(self) -> str:
        """Address of the HTTP API."""
        return f"http://{HOST}:{self.api}"

    @property
    def feedback_url(self) -> str:
        """Address of the feedback component, with its metrics."""
        return f"http://{HOST}:{self.feedback}"

    @property
    def exporter_url(self) -> str:
        """Address of the exporter's metrics."""
        return f"http://{HOST}:{self.exporter}/metrics"


def predictor_program(predictor: str) -> str:
    """Name of a predictor's program, which cannot be that of another component."""
    return f"predictor-{predictor}"


def load_state(settings: ServingSettings) -> RuntimeState | None:
    """Return the state of the runtime, or None when it is down.

    Raises:
        StateError: it cannot be read.
    """
    path = settings.run / "state.json"
    try:
        return RuntimeState.model_validate_json(path.read_text()) if path.exists() else None
    except ValidationError as error:
        raise StateError(f"{path} is damaged: end what runs by `python -m serving down`") from error


def save_state(state: RuntimeState, settings: ServingSettings) -> None:
    """Write the state."""
    replace_text(settings.run / "state.json", state.model_dump_json(indent=2))


def forget_state(settings: ServingSettings) -> None:
    """Remove the state of a runtime which is down."""
    (settings.run / "state.json").unlink(missing_ok=True)


def new_state(settings: ServingSettings) -> RuntimeState:
    """Claim ports for gateway, API, feedback component and exporter.

    Raises:
        PortTakenError: a port which a setting names is in use.
    """
    taken: set[int] = set()
    gateway = claim(settings.gateway_port, "RENTALS_GATEWAY_PORT", taken)
    api = claim(settings.api_port, "RENTALS_API_PORT", taken)
    admin, feedback, exporter = (find_free(taken) for _ in range(3))
    return RuntimeState(
        gateway=envoy.GatewayPorts(gateway, admin), api=api, feedback=feedback, exporter=exporter
    )


def move_ports(state: RuntimeState, settings: ServingSettings) -> None:
    """Give the gateway and the API the ports which settings name, where they differ from those in use.

    Raises:
        PortTakenError: such a port is in use.
    """
    taken = state.ports
    if settings.gateway_port not in (0, state.gateway.gateway):
        port = claim(settings.gateway_port, "RENTALS_GATEWAY_PORT", taken)
        state.gateway = envoy.GatewayPorts(port, state.gateway.admin)
    if settings.api_port not in (0, state.api):
        state.api = claim(settings.api_port, "RENTALS_API_PORT", taken)


def check_ports(state: RuntimeState, settings: ServingSettings) -> RuntimeState:
    """Return the state of a runtime that died with its ports, renewed if one of them is in use by now."""
    return state if all(map(is_free, state.ports)) else new_state(settings)


def add_predictor(state: RuntimeState, predictor: Predictor, settings: ServingSettings) -> None:
    """Claim ports for a predictor and note where its model lies.

    Raises:
        ManifestError: there is no model repository at the predictor's ``modelUri``.
    """
    if predictor.name not in state.predictors:
        taken = state.ports
        ports = triton_server.TritonPorts(find_free(taken), find_free(taken), find_free(taken))
        state.predictors[predictor.name] = ports
    state.repositories[predictor.name] = local_repository(predictor, settings)


def check_served(deployment: SeldonDeployment, settings: ServingSettings) -> None:
    """Check that the deployment is the one the API asks for, and that its models are here and whole.

    Raises:
        ManifestError: with every fault.
    """
    expected = {
        "metadata.name": (deployment.metadata.name, settings.deployment_name, "RENTALS_DEPLOYMENT_NAME"),
        "metadata.namespace": (deployment.metadata.namespace, settings.namespace, "RENTALS_NAMESPACE"),
        "graph.name": (deployment.model_name, settings.model_name, "RENTALS_MODEL_NAME"),
    }
    faults = [
        f"{path}: the API asks for {wanted!r}, not for {given!r}: correct it, or set {variable}"
        for path, (given, wanted, variable) in expected.items()
        if given != wanted
    ]
    for predictor in deployment.spec.predictors:
        try:
            repository = local_repository(predictor, settings)
            read_graph(repository / predictor.graph.name / "1" / "model.onnx")
        except ManifestError as error:
            faults += error.faults
        except ModelFileError as error:
            faults.append(f"predictor {predictor.name!r}: {error}")
    if faults:
        raise ManifestError(faults)


def local_repository(predictor: Predictor, settings: ServingSettings) -> Path:
    """Folder of a predictor's model repository on this machine.

    Raises:
        ManifestError: the ``modelUri`` leads nowhere on this machine.
    """
    path = f"predictor {predictor.name!r}: graph.modelUri"
    uri = predictor.graph.modelUri
    base = settings.model_uri_base.rstrip("/") + "/"
    if settings.model_uri_base and uri.startswith(base):
        repository = settings.models / uri.removeprefix(base)
    elif uri.startswith("file:///"):
        repository = Path(unquote(urlsplit(uri).path))
    else:
        raise ManifestError(
            [f"{path} {uri!r} is not on this machine: set RENTALS_MODEL_URI_BASE to its beginning"]
        )
    if not (repository / predictor.graph.name / "config.pbtxt").is_file():
        remedy = "`python flows/rollout.py run --version N` writes a registered one; or correct the address"
        raise ManifestError([f"{path}: {repository} holds no model {predictor.graph.name!r}: {remedy}"])
    return repository


def programs(state: RuntimeState, settings: ServingSettings) -> dict[str, Program]:
    """Every component's program by name."""
    installation = triton_server.find_installation(settings)
    backends = triton_server.assemble_backends(installation, settings.run / "backends")
    triton = triton_server.environment(installation)
    found = {
        predictor_program(name): Program(
            triton_server.command(installation, settings.run, backends, state.repositories[name], ports),
            # A model that is written anew under the same version changes the program, which restarts it.
            {**triton, "RENTALS_MODEL_FINGERPRINT": _fingerprint(state.repositories[name])},
            settings.run.absolute(),
        )
        for name, ports in state.predictors.items()
    }
    # Envoy reads its ports when it starts, so that other ones restart it.
    ports = {"RENTALS_GATEWAY_PORTS": f"{state.gateway.gateway} {state.gateway.admin}"}
    found[GATEWAY] = Program(envoy.command(gateway_files(settings)), ports)
    found[FEEDBACK] = Program(
        feedback_server.command(settings, state.feedback), feedback_server.environment(settings)
    )
    home = {"RENTALS_HOME": str(settings.home.absolute())}
    exporter = [sys.executable, "-m", "serving.exporter", "--port", str(state.exporter)]
    found[EXPORTER] = Program(exporter, home)
    exported = {f"RENTALS_{name.upper()}": str(getattr(settings, name)) for name in API_SETTINGS}
    # The address of the gateway is part of the program, so that another one restarts the API.
    exported["RENTALS_GATEWAY_URL"] = state.gateway_url
    found[API] = Program(
        [sys.executable, "-m", *API_SERVER, "--host", HOST, "--port", str(state.api)], exported | home
    )
    return found


def gateway_files(settings: ServingSettings) -> envoy.GatewayFiles:
    """Where the gateway's configuration lies."""
    return envoy.GatewayFiles(settings.run.absolute() / "envoy")


def _fingerprint(repository: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path for path in repository.rglob("*") if path.is_file()):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
