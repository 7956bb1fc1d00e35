"""SeldonDeployment: the one description of what is served, on a laptop and on a cluster.

The types hold the part of ``machinelearning.seldon.io/v1`` that this project uses and refuse other fields.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

FULL_TRAFFIC = 100
"""Weights are whole percentages."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Metadata(_Part):
    """Name of the deployment and the switches that Seldon reads from annotations."""

    name: str
    namespace: str = "default"
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Resources(_Part):
    """What a container asks for and may use, in Kubernetes quantities."""

    requests: dict[str, str | int] = {}
    limits: dict[str, str | int] = {}


class HttpGet(_Part):
    """A request that a container answers with success while it is well."""

    path: str
    port: int | str
    """Number or name of a port of the container."""


class Probe(_Part):
    """How Kubernetes sees whether a container has started, can be asked, and is alive."""

    httpGet: HttpGet  # noqa: N815
    periodSeconds: int = Field(10, ge=1)  # noqa: N815
    timeoutSeconds: int = Field(1, ge=1)  # noqa: N815
    failureThreshold: int = Field(3, ge=1)  # noqa: N815


class PodSecurity(_Part):
    """As whom the containers of a pod run, and which calls the kernel takes from them."""

    runAsNonRoot: bool | None = None  # noqa: N815
    runAsUser: int | None = None  # noqa: N815
    seccompProfile: dict[str, str] | None = None  # noqa: N815


class ContainerSecurity(_Part):
    """What a container is not let do."""

    allowPrivilegeEscalation: bool | None = None  # noqa: N815
    readOnlyRootFilesystem: bool | None = None  # noqa: N815
    capabilities: dict[str, list[str]] | None = None


class Volume(_Part):
    """An empty folder, as long as the pod lives; what else Kubernetes has of volumes is not written here."""

    name: str
    emptyDir: dict[str, str] | None = None  # noqa: N815


class VolumeMount(_Part):
    """Where a container sees a volume."""

    name: str
    mountPath: str  # noqa: N815


class Container(_Part):
    """A container of a predictor; one named like the graph overrides Seldon's own."""

    name: str
    image: str | None = None
    resources: Resources | None = None
    securityContext: ContainerSecurity | None = None  # noqa: N815
    volumeMounts: list[VolumeMount] = []  # noqa: N815
    startupProbe: Probe | None = None  # noqa: N815
    readinessProbe: Probe | None = None  # noqa: N815
    livenessProbe: Probe | None = None  # noqa: N815


class Toleration(_Part):
    """A taint of nodes on which the pod may run all the same."""

    key: str | None = None
    operator: Literal["Exists", "Equal"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class PodSpec(_Part):
    """Containers of a predictor's pod, and the nodes on which it may run."""

    containers: list[Container] = Field(min_length=1)
    automountServiceAccountToken: bool | None = None  # noqa: N815
    securityContext: PodSecurity | None = None  # noqa: N815
    volumes: list[Volume] = []
    nodeSelector: dict[str, str] = {}  # noqa: N815
    tolerations: list[Toleration] = []


class ComponentSpec(_Part):
    """Pod template of a predictor."""

    spec: PodSpec


class Graph(_Part):
    """The model server of a predictor."""

    name: str
    implementation: Literal["TRITON_SERVER"]
    modelUri: str = Field(min_length=1)  # noqa: N815
    type: Literal["MODEL"] = "MODEL"


class Predictor(_Part):
    """One version of the model and its share of the traffic, in percent."""

    name: str
    graph: Graph
    traffic: int = Field(0, ge=0, le=FULL_TRAFFIC)
    shadow: bool = False
    replicas: int = Field(1, ge=0)
    componentSpecs: list[ComponentSpec] = []  # noqa: N815


class Spec(_Part):
    """Predictors of the deployment and the protocol they speak."""

    name: str | None = None
    protocol: Literal["v2"]
    predictors: list[Predictor] = Field(min_length=1)


class SeldonDeployment(_Part):
    """A deployment as Seldon reads it."""

    apiVersion: Literal["machinelearning.seldon.io/v1"]  # noqa: N815
    kind: Literal["SeldonDeployment"]
    metadata: Metadata
    spec: Spec

    @property
    def live(self) -> list[Predictor]:
        """Predictors that answer users; the champion stands first."""
        return [predictor for predictor in self.spec.predictors if not predictor.shadow]

    @property
    def shadow(self) -> Predictor | None:
        """The predictor that gets a copy of the traffic, if there is one."""
        return next((predictor for predictor in self.spec.predictors if predictor.shadow), None)

    @property
    def weights(self) -> dict[str, int]:
        """Percent of the traffic by the name of the predictor."""
        return {predictor.name: predictor.traffic for predictor in self.live}

    @property
    def model_name(self) -> str:
        """Name under which every predictor serves its model."""
        return self.spec.predictors[0].graph.name
