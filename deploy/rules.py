"""What must hold between objects, and of every pod, which no schema says.

The rules of pods are those of Kubernetes' pod security standard "restricted"
(https://kubernetes.io/docs/concepts/security/pod-security-standards/), and a read-only file system.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deploy.rendering import Document

NAMESPACE = "rentals"

MONITORING = "monitoring"
"""Namespace of Prometheus, which takes its rules from its own alone."""

WITH_TOKEN = frozenset({"rollout"})
"""Accounts whose pods talk to Kubernetes."""

FROM_OUTSIDE = ({"app.kubernetes.io/name": "metaflow-task"},)
"""Labels of pods that are not in the manifests: Metaflow makes one for each step."""

SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|_KEY$|AUTH$")
"""Variables whose value is nobody's to read."""

PASSWORD_IN_URL = re.compile(r"://[^/\s]*:[^/\s]+@")


@dataclass(frozen=True)
class Pods:
    """The pods that an object makes."""

    owner: str
    labels: Mapping[str, str]
    spec: Mapping[str, Any]
    ends: bool
    """Whether they end by themselves, so that no probe looks at them."""


def faults(documents: list[Document]) -> Iterator[str]:
    """Give what is wrong with the objects of a namespace together."""
    names = [(one["kind"], one["metadata"]["name"]) for one in documents]
    for kind, name in sorted({each for each in names if names.count(each) > 1}):
        yield f"{kind}/{name}: is there {names.count((kind, name))} times: make names unique"
    pods = [each for one in documents for each in pods_of(one)]
    for each in pods:
        yield from (f"{each.owner}: {fault}" for fault in [*_of_pod(each), *_references(each, documents)])
    for one in documents:
        yield from (f"{one['kind']}/{one['metadata']['name']}: {fault}" for fault in _of_object(one, pods))
    if not any(map(_denies_all, documents)):
        yield "NetworkPolicy: none denies all that the others do not allow: add one with podSelector: {}"


def pods_of(document: Document) -> Iterator[Pods]:
    """Give the pods that an object makes, if it makes any."""
    kind, name, spec = document["kind"], document["metadata"]["name"], document.get("spec") or {}
    owner = f"{kind}/{name}"
    if kind == "SeldonDeployment":
        for predictor in spec.get("predictors", []):
            for component in predictor.get("componentSpecs", []):
                # The label is Seldon's.
                yield Pods(owner, {"seldon-deployment-id": name}, component.get("spec", {}), ends=False)
        return
    if kind == "CronJob":
        spec = spec.get("jobTemplate", {}).get("spec", {})
    if kind in ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"):
        template = spec.get("template", {})
        labels = template.get("metadata", {}).get("labels", {})
        yield Pods(owner, labels, template.get("spec", {}), ends=kind in ("Job", "CronJob"))


def _of_pod(pods: Pods) -> Iterator[str]:
    security, containers = pods.spec.get("securityContext", {}), pods.spec.get("containers", [])
    if not containers:
        yield "has no container"
    if security.get("runAsNonRoot") is not True:
        yield "securityContext.runAsNonRoot must be true"
    if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "securityContext.seccompProfile.type must be RuntimeDefault"
    wants_token = pods.spec.get("serviceAccountName") in WITH_TOKEN
    if pods.spec.get("automountServiceAccountToken") is not wants_token:
        yield f"automountServiceAccountToken must be {str(wants_token).lower()}"
    for volume in pods.spec.get("volumes", []):
        if "hostPath" in volume:
            yield f"volume {volume['name']} is a folder of the node: take a claim or emptyDir"
    for container in containers:
        found = [*_of_container(container), *([] if pods.ends else _probes(container))]
        yield from (f"container {container['name']}: {fault}" for fault in found)


def _of_container(container: Mapping[str, Any]) -> Iterator[str]:
    security, resources = container.get("securityContext", {}), container.get("resources", {})
    if security.get("allowPrivilegeEscalation") is not False or security.get("privileged"):
        yield "securityContext.allowPrivilegeEscalation must be false"
    if security.get("readOnlyRootFilesystem") is not True:
        yield "securityContext.readOnlyRootFilesystem must be true"
    if security.get("capabilities") != {"drop": ["ALL"]}:
        yield "securityContext.capabilities must be {drop: [ALL]}"
    for part, names in (("requests", ("cpu", "memory")), ("limits", ("memory",))):
        for name in names:
            if name not in resources.get(part, {}):
                yield f"resources.{part}.{name} missing: the node cannot plan without"
    image = container.get("image", "")
    if not re.search(r":[^:/]+$", image) or image.endswith(":latest"):
        yield f"image {image!r} is not pinned: give it a tag"
    for variable in container.get("env", []):
        if SECRET_NAME.search(variable["name"]) and "valueFrom" not in variable:
            yield f"variable {variable['name']} is written out: take it from a secret by valueFrom"


def _probes(container: Mapping[str, Any]) -> Iterator[str]:
    for probe in ("readinessProbe", "livenessProbe"):
        if probe not in container:
            yield f"{probe} missing"


def _references(pods: Pods, documents: list[Document]) -> Iterator[str]:
    """What a pod names that is not there; secrets are somebody else's."""
    there = {(one["kind"], one["metadata"]["name"]) for one in documents}
    wanted = [("ServiceAccount", pods.spec.get("serviceAccountName"))]
    for volume in pods.spec.get("volumes", []):
        wanted.append(("PersistentVolumeClaim", volume.get("persistentVolumeClaim", {}).get("claimName")))
        wanted.append(("ConfigMap", volume.get("configMap", {}).get("name")))
    for container in pods.spec.get("containers", []):
        wanted += [("ConfigMap", e.get("configMapRef", {}).get("name")) for e in container.get("envFrom", [])]
    for kind, name in wanted:
        if name and (kind, name) not in there:
            yield f"{kind} {name!r} is not there: correct the name, or add it"


def _of_object(document: Document, pods: list[Pods]) -> Iterator[str]:
    kind, spec = document["kind"], document.get("spec") or {}
    allowed = (NAMESPACE, MONITORING) if kind == "ConfigMap" else (NAMESPACE,)
    if document["metadata"].get("namespace", NAMESPACE) not in allowed:
        yield f"namespace {document['metadata']['namespace']!r} must be {NAMESPACE!r}"
    if kind == "Secret":
        yield "a secret does not belong into a manifest: refer to it by secretKeyRef"
    if kind == "ConfigMap" and any(PASSWORD_IN_URL.search(text) for text in document["data"].values()):
        yield "holds an address with a password: take it from a secret"
    if kind in ("Role", "ClusterRole"):
        for rule in document.get("rules", []):
            if "*" in [*rule["verbs"], *rule.get("resources", []), *rule.get("apiGroups", [])]:
                yield "gives rights by '*': name what is needed"
    if kind == "HorizontalPodAutoscaler":
        target = "{kind}/{name}".format(**spec["scaleTargetRef"])
        if target not in {each.owner for each in pods}:
            yield f"scales {target}, which is not there"
    selector = {
        "Service": {"matchLabels": spec.get("selector", {})},
        "PodDisruptionBudget": spec.get("selector"),
        "NetworkPolicy": spec.get("podSelector"),
    }.get(kind)
    if selector is not None and not any(
        _selects(selector, labels) for labels in [*(each.labels for each in pods), *FROM_OUTSIDE]
    ):
        yield f"selects no pod: {selector}"
    if kind in ("Deployment", "StatefulSet"):
        (made,) = pods_of(document)
        if not _selects(spec.get("selector", {}), made.labels):
            yield "its selector does not select its own pods"


def _selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", [])
    )


def _denies_all(document: Document) -> bool:
    spec = document.get("spec") or {}
    return (
        document["kind"] == "NetworkPolicy"
        and spec.get("podSelector") == {}
        and set(spec.get("policyTypes", [])) == {"Ingress", "Egress"}
        and not {"ingress", "egress"} & spec.keys()
    )
