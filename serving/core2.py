"""The same deployment for Seldon Core 2: a Model per version, the Server they share, and the Experiment.

Core 2 (``mlops.seldon.io/v1alpha1``) has no predictors: what splits the traffic is an experiment over models.
Callers name it by the header ``seldon-model: NAME.experiment``, which no promotion changes.
"""

from typing import Any

import yaml

from serving.seldon import SeldonDeployment
from serving.settings import ServingSettings
from serving.triton import FILTERED, PAIRS

API_VERSION = "mlops.seldon.io/v1alpha1"

SERVER = "triton"
"""Name of the server and of Seldon's own configuration for it."""

REQUIREMENTS = ["triton", "onnx"]
"""What a server must be able to do to be given the models."""


def resources(deployment: SeldonDeployment, settings: ServingSettings) -> list[dict[str, Any]]:
    """Return the resources of a checked deployment, in the order in which they can be applied.

    Args:
        deployment: predictors become models, weights candidates, a shadow the mirror.
        settings: memory of a model, and GPUs of the server.
    """
    found = [_server(deployment, settings)]
    for name in (deployment.model_name + end for end in ("", FILTERED, PAIRS)):
        for predictor in deployment.spec.predictors:
            found.append(
                _resource(
                    "Model",
                    f"{name}-{predictor.name}",
                    deployment,
                    {
                        "storageUri": f"{predictor.graph.modelUri}/{name}",
                        "requirements": REQUIREMENTS,
                        "memory": settings.triton_memory,
                        "replicas": predictor.replicas,
                        "server": SERVER,
                    },
                )
            )
        found.append(_experiment(name, deployment))
    return found


def dump(deployment: SeldonDeployment, settings: ServingSettings) -> str:
    """Return the resources as YAML, which ``kubectl apply`` takes."""
    return yaml.safe_dump_all(resources(deployment, settings), sort_keys=False)


def _server(deployment: SeldonDeployment, settings: ServingSettings) -> dict[str, Any]:
    replicas = max(predictor.replicas for predictor in deployment.spec.predictors)
    spec: dict[str, Any] = {"serverConfig": SERVER, "replicas": replicas}
    if settings.triton_gpus:
        limits = {"nvidia.com/gpu": settings.triton_gpus}
        spec["podSpec"] = {"containers": [{"name": SERVER, "resources": {"limits": limits}}]}
    return _resource("Server", SERVER, deployment, spec)


def _experiment(name: str, deployment: SeldonDeployment) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "candidates": [
            {"name": f"{name}-{predictor}", "weight": weight}
            for predictor, weight in deployment.weights.items()
        ]
    }
    if deployment.shadow:
        spec["mirror"] = {"name": f"{name}-{deployment.shadow.name}", "percent": 100}
    return _resource("Experiment", name, deployment, spec)


def _resource(kind: str, name: str, deployment: SeldonDeployment, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": deployment.metadata.namespace}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
