"""Settings of serving, read from ``RENTALS_…`` environment variables."""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

CHECKOUT = Path(__file__).resolve().parents[1]

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds what its service account may use."""

OF_PREDICTOR = (
    '{{reporter="source",destination_workload_namespace="{namespace}",'
    'destination_workload=~"{deployment}-{predictor}-.*"}}'
)
"""Labels of a predictor's series as its callers count it: a pod out of reach counts nothing itself."""


class ServingSettings(BaseSettings):
    """What is served, where it listens and how long each part may take."""

    model_config = SettingsConfigDict(env_prefix="RENTALS_")

    home: Annotated[Path, AfterValidator(Path.absolute)] = CHECKOUT / ".rentals"
    """Folder of everything that a run writes; a relative one is below the working folder."""

    deployment_name: str = "rentals"
    """Name of the SeldonDeployment."""

    namespace: str = "rentals"
    """Kubernetes namespace of the deployment; part of the gateway's paths."""

    model_name: str = "rental-recommender"
    """Name of the model in every predictor's Triton repository."""

    api_port: int = Field(0, ge=0, le=65535)
    """Port of the HTTP API; 0 takes a free one and keeps it."""

    gateway_port: int = Field(0, ge=0, le=65535)
    """Port of Envoy, the gateway of all predictors; 0 takes a free one and keeps it."""

    prometheus_port: int = Field(0, ge=0, le=65535)
    """Port of the Prometheus of `make prometheus`; 0 takes a free one."""

    scrape_seconds: int = Field(5, ge=1)
    """Time between two looks of that Prometheus at each component, and at its rules."""

    gateway_url: str = Field("", pattern="^(https?://.*[^/])?$")
    """Where the API finds the gateway on a cluster, such as ``http://istio-ingressgateway.istio-system``.

    Empty: Envoy of the local runtime.
    """

    triton_python: Path = CHECKOUT / ".venvs/triton/bin/python"
    """Python of Triton's own environment (``serving/triton-requirements.txt``)."""

    feedback_python: Path = CHECKOUT / ".venvs/feedback/bin/python"
    """Python of seldon-core's own environment (``serving/feedback-requirements.txt``)."""

    triton_image: str = "nvcr.io/nvidia/tritonserver:24.10-py3"
    """Image of the predictors on a cluster; 24.10 carries the same Triton 2.51 that runs locally."""

    triton_gpus: int = Field(0, ge=0)
    """GPUs per replica of a predictor on a cluster."""

    triton_cpu: str = "1"
    """CPU that a replica of a predictor requests, in Kubernetes notation."""

    triton_memory: str = "1Gi"
    """Memory that a replica of a predictor requests and is limited to, in Kubernetes notation."""

    triton_node_selector: dict[str, str] = {}
    """Labels of the nodes on which predictors run, as JSON: ``{"accelerator": "nvidia"}``."""

    triton_tolerations: list[dict[str, str]] = []
    """Taints that they tolerate, as JSON: ``[{"key": "nvidia.com/gpu", "operator": "Exists"}]``."""

    triton_max_batch_size: int = Field(64, ge=1)
    """Largest batch that Triton accepts; written into the model's configuration."""

    triton_instances: int = Field(1, ge=1)
    """Copies of a model that Triton runs side by side, on a GPU each where there are some."""

    triton_threads: int = Field(1, ge=1)
    """ONNX Runtime's threads of one inference."""

    triton_batch_delay: int = Field(0, ge=0)
    """Microseconds that Triton waits for more requests before it runs a batch that is not full."""

    replicas: int = Field(1, ge=1)
    """Replicas of a predictor on a cluster; the local runtime always starts one."""

    model_uri_base: str = ""
    """Where the predictors' model repositories lie as a cluster sees them, such as ``s3://bucket/models``.

    To S3 a version is copied when it is rolled out, by AWS's own variables (``AWS_ENDPOINT_URL_S3``,
    ``AWS_ACCESS_KEY_ID``, …); the local runtime reads the folders below ``home/models``. Empty: their
    ``file://`` address.
    """

    predictor_start_seconds: float = Field(90, gt=0)
    """Longest wait for a predictor to load its model."""

    component_start_seconds: float = Field(60, gt=0)
    """Longest wait for the supervisor, the gateway, the API or the feedback component to answer."""

    stop_seconds: int = Field(10, ge=1)
    """Time between the polite and the hard end of a component."""

    drain_seconds: float = Field(10, gt=0)
    """Longest wait for the open requests of a predictor that has left the routes."""

    inference_seconds: float = Field(2, gt=0)
    """Longest wait of the API for one answer of a predictor."""

    features_seconds: float = Field(0.5, gt=0)
    """Longest wait of the API for a user's online features; after it the answer is a degraded one."""

    answer_seconds: float = Field(5, gt=0)
    """Longest time to an answer of the API: features, two predictors, and the rentals' features."""

    rental_cache_seconds: float = Field(60, ge=0)
    """How long the API keeps a rental's features, which describe the items of an answer."""

    user_cache_seconds: float = Field(3600, ge=0)
    """How long the API keeps a user's features, for the case that the feature store does not answer."""

    requests_per_minute: int = Field(0, ge=0)
    """Requests that one client, told by its address, may make within a minute; 0 sets no limit."""

    rollout_steps: tuple[int, ...] = (0, 1, 5, 25, 50, 100)
    """Percent of the traffic at each step of a rollout: 0 for a copy of it, the last one to promote."""

    rollout_backend: Literal["local", "kubernetes"] = "local"
    """Where a rollout acts: the runtime of this machine, or a cluster (``RENTALS_KUBERNETES_…``)."""

    rollout_seconds: float = Field(600, gt=0)
    """Longest life of one rollout step; a canary that has not proven itself by then is rolled back."""

    rollout_poll_seconds: float = Field(0.5, gt=0)
    """Time between two looks at the arms of a rollout."""

    decisions_url: str = Field("", pattern="^(postgres(ql)?://.*)?$")
    """Where rollouts write their decisions and keep each other away: ``postgresql://USER@HOST/DATABASE``.

    For rollouts on several machines: a database or schema for each deployment, by a connection that no pooler
    gives to others meanwhile. Empty: SQLite below ``home``.
    """

    rollback_seconds: float = Field(150, gt=0)
    """Longest wait of a person's rollback for the rollout that runs: it may be starting a predictor."""

    @property
    def run(self) -> Path:
        """Folder of the local runtime's state: ports, rendered configurations, the applied manifest."""
        return self.home / "run"

    @property
    def decisions(self) -> str:
        """Address of the decisions of rollouts, for SQLAlchemy."""
        scheme, _, place = self.decisions_url.partition("://")
        own = f"sqlite:///{quote(str(self.run / 'decisions.db'))}"
        return f"postgresql+psycopg://{place}" if scheme else own

    @property
    def logs(self) -> Path:
        """Folder of the components' logs."""
        return self.home / "logs"

    @property
    def models(self) -> Path:
        """Folder of the Triton model repositories, one folder per predictor."""
        return self.home / "models"

    @property
    def api_keys(self) -> Path:
        """Hashes of the keys of the routes that write; without the file these are open to all."""
        return self.home / "api-keys"

    @property
    def popularity(self) -> Path:
        """File of the most popular rentals by purpose, for the time when no predictor answers."""
        return self.home / "popularity.json"

    @property
    def lake(self) -> Path:
        """Folder of the prediction log."""
        return self.home / "lake"


class DecisionThresholds(BaseSettings):
    """When a canary is promoted or rolled back. Each limit names its reason."""

    model_config = SettingsConfigDict(env_prefix="RENTALS_CANARY_")

    minimum_requests: int = Field(200, ge=1)
    """Answers of the canary before it is judged: a share of 2.3 % failures then shows with 99 % certainty."""

    hard_failures: int = Field(5, ge=1)
    """Failed answers from which the share of failures counts even before ``minimum_requests``."""

    hard_failure_share: float = Field(0.05, gt=0, le=1)
    """Share of failed answers which ends a canary whatever the champion does: each is a retry for a user."""

    error_significance: float = Field(0.01, gt=0, lt=1)
    """Level of more failures than the champion has: at most one false alarm in a hundred rollouts, however
    often they are looked at, where one answer's failure says nothing of another's."""

    latency_ratio: float = Field(2.0, gt=1)
    """Largest ratio of the 95th percentiles of latency; below it lies the noise of a shared machine."""

    latency_floor_ms: float = Field(50.0, ge=0)
    """Smallest difference of the 95th percentiles that counts: less is not felt by a person."""

    rating_distance: float = Field(0.5, gt=0, le=1)
    """Largest Kolmogorov-Smirnov distance of predicted ratings: retraining moves less than half of them."""

    reward_significance: float = Field(0.01, gt=0, lt=1)
    """The same for fewer rewards than the champion gets, and for a promotion against ``reward_margin``."""

    reward_margin: float | None = Field(None, gt=0, lt=1)
    """Share of the champion's reward that must be shown not to be lost before a canary is promoted, which
    takes thousands of rewards for a margin of some percent. Without it, it is enough that no loss shows."""

    def of_steps(self, steps: int) -> "DecisionThresholds":
        """Return the thresholds of one of ``steps`` steps: the levels hold for the rollout as a whole."""
        levels = ("error_significance", "reward_significance")
        return self.model_copy(update={name: getattr(self, name) / steps for name in levels})


class ClusterSettings(BaseSettings):
    """Where the cluster and its Prometheus are, and how their series are called."""

    model_config = SettingsConfigDict(env_prefix="RENTALS_KUBERNETES_")

    url: str = "https://kubernetes.default.svc"
    """Address of the Kubernetes API."""

    token_file: Path = ACCOUNT / "token"
    """File with the bearer token; it is read at every call, because Kubernetes renews it."""

    ca_file: Path = ACCOUNT / "ca.crt"
    """Certificates that the API's own is checked with."""

    prometheus_url: str = "http://prometheus-server.monitoring.svc"
    """Address of Prometheus."""

    requests_series: str = Field(f"istio_requests_total{OF_PREDICTOR}", pattern=r"\}\}$")
    """Counter of a predictor's answers, with the label ``response_code``; it ends with its labels."""

    latency_series: str = f"istio_request_duration_milliseconds_bucket{OF_PREDICTOR}"
    """Histogram of a predictor's latencies in milliseconds."""

    call_seconds: float = Field(10, gt=0)
    """Longest wait for one answer of either."""

    retry_seconds: float = Field(1, gt=0)
    """Wait before a second attempt; it doubles with each further one."""

    ready_seconds: float = Field(600, gt=0)
    """Longest wait until Seldon has all predictors ready and the weights in force."""
