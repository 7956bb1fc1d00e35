"""The manifest of what is served: rendered, read and checked.

The rules are those of Seldon's admission webhook, so that a manifest which passes here is not refused by a
cluster. A misspelt field, which a cluster may drop in silence, is a fault here.
"""

import copy
import difflib
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from serving import yaml_documents
from serving.files import replace_text
from serving.seldon import (
    FULL_TRAFFIC,
    Container,
    ContainerSecurity,
    HttpGet,
    PodSecurity,
    Probe,
    Resources,
    SeldonDeployment,
    Volume,
    VolumeMount,
)
from serving.settings import ServingSettings

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""What Kubernetes accepts as the name of an object, a container or a host."""

LARGEST_BYTES = 1_500_000
"""Size of a manifest that a cluster still stores: etcd takes no larger request."""


START_PERIOD = 5
"""Seconds between two looks at a predictor that loads its model."""

TRITON_USER = 1000
"""The user ``triton-server`` of NVIDIA's image."""

POD_SECURITY = PodSecurity(
    runAsNonRoot=True, runAsUser=TRITON_USER, seccompProfile={"type": "RuntimeDefault"}
)

CONTAINER_SECURITY = ContainerSecurity(
    allowPrivilegeEscalation=False, readOnlyRootFilesystem=True, capabilities={"drop": ["ALL"]}
)

SCRATCH = Volume(name="scratch", emptyDir={})
"""For what Triton writes, its models and itself being read-only."""


class ManifestError(ValueError):
    """A manifest is not one that Seldon would accept; ``faults`` lists every fault with its path."""

    def __init__(self, faults: list[str], source: str = "the manifest") -> None:
        self.faults = faults
        super().__init__(
            f"{source} has {len(faults)} fault(s):\n" + "\n".join(f"  - {fault}" for fault in faults)
        )


def render(
    weights: Mapping[str, int], settings: ServingSettings, shadow: str | None = None
) -> SeldonDeployment:
    """Return the deployment which serves predictors such as ``{"v3": 90, "v4": 10}``, champion first.

    Raises:
        ManifestError: the weights or names break a rule.
    """
    base = settings.model_uri_base or settings.models.absolute().as_uri()
    limits: dict[str, str | int] = {"memory": settings.triton_memory}
    if settings.triton_gpus:
        limits["nvidia.com/gpu"] = settings.triton_gpus
    starts = max(1, math.ceil(settings.predictor_start_seconds / START_PERIOD))
    container = Container(
        name=settings.model_name,
        image=settings.triton_image,
        resources=Resources(
            requests={"cpu": settings.triton_cpu, "memory": settings.triton_memory}, limits=limits
        ),
        startupProbe=_probe("ready", periodSeconds=START_PERIOD, failureThreshold=starts),
        readinessProbe=_probe("ready"),
        livenessProbe=_probe("live"),
        securityContext=CONTAINER_SECURITY,
        volumeMounts=[VolumeMount(name=SCRATCH.name, mountPath="/tmp")],  # noqa: S108 - the container's own
    )
    pod = {
        "containers": [container.model_dump(exclude_defaults=True)],
        "automountServiceAccountToken": False,
        "securityContext": POD_SECURITY.model_dump(),
        "volumes": [SCRATCH.model_dump()],
        "nodeSelector": settings.triton_node_selector,
        "tolerations": settings.triton_tolerations,
    }
    predictors: list[dict[str, Any]] = [
        {
            "name": name,
            "traffic": traffic,
            "shadow": name == shadow,
            "replicas": settings.replicas,
            "graph": {
                "name": settings.model_name,
                "implementation": "TRITON_SERVER",
                "modelUri": f"{base.rstrip('/')}/{name}",
                "type": "MODEL",
            },
            "componentSpecs": [{"spec": {name: part for name, part in pod.items() if part not in ({}, [])}}],
        }
        for name, traffic in [*weights.items(), *([(shadow, 0)] if shadow else [])]
    ]
    return check(
        {
            "apiVersion": "machinelearning.seldon.io/v1",
            "kind": "SeldonDeployment",
            "metadata": {
                "name": settings.deployment_name,
                "namespace": settings.namespace,
                # Routes lead straight to Triton, as they do on a laptop: no orchestrator in between.
                "annotations": {"seldon.io/no-engine": "true"},
            },
            "spec": {"name": settings.deployment_name, "protocol": "v2", "predictors": predictors},
        },
        "the rendered manifest",
    )


def _probe(state: str, **timing: int) -> Probe:
    """A look at Triton's own health, at the port that Seldon names ``http``."""
    return Probe(httpGet=HttpGet(path=f"/v2/health/{state}", port="http"), **timing)


def load(path: Path) -> SeldonDeployment:
    """Read and check the manifest in a file.

    Raises:
        ManifestError: the file cannot be read or breaks a rule.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
        text = content.decode()
    except OSError as error:
        raise ManifestError([f"cannot be read: {error.strerror}: correct the path"], str(path)) from error
    except UnicodeDecodeError as error:
        raise ManifestError([f"is not text in UTF-8: {error}"], str(path)) from error
    if len(content) > LARGEST_BYTES:
        fault = f"is larger than {LARGEST_BYTES} bytes, so no manifest: no cluster would store it"
        raise ManifestError([fault], str(path))
    return parse(text, str(path))


def parse(text: str, source: str = "the manifest") -> SeldonDeployment:
    """Read and check a manifest in YAML or JSON.

    Raises:
        ManifestError: the text breaks a rule; every fault is listed.
    """
    try:
        document = yaml_documents.read(text)
    except yaml_documents.YamlFault as error:
        raise ManifestError([f"is not YAML: {error}"], source) from error
    if not isinstance(document, dict):
        raise ManifestError(["is not a mapping: it must begin with apiVersion, kind, metadata, spec"], source)
    return check(document, source)


def dump(deployment: SeldonDeployment) -> str:
    """Return the manifest as YAML, which ``parse`` and ``kubectl apply`` take."""
    return yaml.safe_dump(deployment.model_dump(exclude_none=True, exclude_unset=True), sort_keys=False)


def save(deployment: SeldonDeployment, path: Path) -> None:
    """Write the manifest; a reader never sees half of it."""
    replace_text(path, dump(deployment))


def check(document: dict[str, Any], source: str) -> SeldonDeployment:
    """Return the typed deployment of a plain document.

    Raises:
        ManifestError: with all faults of types, names and rules.
    """
    try:
        deployment = SeldonDeployment.model_validate(document)
    except ValidationError as error:
        faults = [_fault(entry["loc"], entry["type"], entry["msg"]) for entry in error.errors()]
        try:
            known = SeldonDeployment.model_validate(_without_unknown(document, error))
        except ValidationError:
            raise ManifestError(faults, source) from error
        raise ManifestError([*faults, *_broken_rules(known)], source) from error
    if faults := list(_broken_rules(deployment)):
        raise ManifestError(faults, source)
    return deployment


def known_part(document: dict[str, Any], source: str) -> SeldonDeployment:
    """Return the typed deployment of a document with more fields than ours, such as a cluster's own object.

    Raises:
        ManifestError: what is known of it breaks a rule.
    """
    try:
        SeldonDeployment.model_validate(document)
    except ValidationError as error:
        document = _without_unknown(document, error)
    return check(document, source)


def _without_unknown(document: dict[str, Any], error: ValidationError) -> dict[str, Any]:
    """The document less its unknown fields, so that the rules can be checked as well."""
    known = copy.deepcopy(document)
    for entry in error.errors():
        if entry["type"] == "extra_forbidden":
            *parents, last = entry["loc"]
            parent: Any = known
            for key in parents:
                parent = parent[key]
            parent.pop(last, None)
    return known


def _fault(location: tuple[str | int, ...], kind: str, message: str) -> str:
    path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in location).lstrip(".")
    if kind != "extra_forbidden":
        return f"{path}: {message[0].lower()}{message[1:]}"
    fields = _fields_at(location[:-1])
    close = difflib.get_close_matches(str(location[-1]), fields, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(fields)}"
    return f"{path}: unknown field; {hint}"


def _fields_at(location: tuple[str | int, ...]) -> list[str]:
    """Names of the fields of the type that stands at a place of the document."""
    part: type[BaseModel] = SeldonDeployment
    for key in location:
        if isinstance(key, str) and key in part.model_fields:
            part = _model_within(part.model_fields[key].annotation) or part
    return list(part.model_fields)


def _model_within(annotation: Any) -> type[BaseModel] | None:
    if get_origin(annotation) is None:
        return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
    return next(filter(None, map(_model_within, get_args(annotation))), None)


def _broken_rules(deployment: SeldonDeployment) -> Iterator[str]:
    predictors = deployment.spec.predictors
    total = sum(predictor.traffic for predictor in predictors if not predictor.shadow)
    if total != FULL_TRAFFIC:
        listed = ", ".join(f"{predictor.name} {predictor.traffic}" for predictor in deployment.live)
        listed = listed or "only shadows, which answer nobody"
        yield f"spec.predictors: traffic sums to {total} ({listed}); make the weights sum to {FULL_TRAFFIC}"
    if (shadows := sum(predictor.shadow for predictor in predictors)) > 1:
        yield f"spec.predictors: {shadows} shadows; keep shadow: true on one predictor at most"
    for index, predictor in enumerate(predictors):
        if predictor.shadow and predictor.traffic:
            yield f"spec.predictors[{index}].traffic: a shadow gets a copy of all traffic; make its share 0"
    names = [predictor.name for predictor in predictors]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"spec.predictors: the name {name!r} is used {names.count(name)} times; make names unique"
    if len({predictor.graph.name for predictor in predictors}) > 1:
        yield "spec.predictors: graph names differ; the model's name stands in the URL, so use one name"
    labels = {"metadata.name": deployment.metadata.name, "metadata.namespace": deployment.metadata.namespace}
    for index, predictor in enumerate(predictors):
        labels[f"spec.predictors[{index}].name"] = predictor.name
        labels[f"spec.predictors[{index}].graph.name"] = predictor.graph.name
    for path, label in labels.items():
        if not DNS_LABEL.fullmatch(label):
            yield f"{path}: {label!r} is not a DNS label (a-z, 0-9 and '-' inside, at most 63 characters)"
