"""Rollouts on a cluster: patches the SeldonDeployment by the Kubernetes API, and counts by Prometheus.

A patch names the resource version that it was made from, so that a change by others in between is a conflict
(409) and is looked at instead of being overwritten. Seldon shifts weights when every predictor is ready, and
says so in the status.
"""

import ssl
import time
from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, datetime
from math import isnan, nan
from typing import Any

import httpx
from tenacity import (
    Retrying,
    retry_if_exception_type,
    retry_if_result,
    stop_after_attempt,
    wait_exponential,
)

from serving import manifest
from serving.arms import ArmReader
from serving.backend import ChangedByOthersError, NotAppliedError, live, render_weights
from serving.decision import Arm
from serving.seldon import SeldonDeployment
from serving.settings import ClusterSettings, ServingSettings

TRIES = 5
"""Attempts of a call that times out, meets a conflict or a server's fault."""

LOOKS = 2
"""Looks in a row that must find the deployment in force."""

LONGEST_REASON = 200
"""Letters of a fault that an error shows."""

PATH = "/apis/machinelearning.seldon.io/v1/namespaces/{namespace}/seldondeployments/{name}"


class ClusterError(RuntimeError):
    """The cluster cannot be asked; the message names the remedy."""


class KubernetesBackend:
    """A SeldonDeployment on a cluster, by its name and namespace."""

    def __init__(self, settings: ServingSettings, cluster: ClusterSettings | None = None) -> None:
        self._settings, self._cluster = settings, cluster or ClusterSettings()
        self._path = PATH.format(namespace=settings.namespace, name=settings.deployment_name)
        timeout = self._cluster.call_seconds
        self._api = httpx.Client(
            base_url=self._cluster.url, verify=_certificates(self._cluster), timeout=timeout, trust_env=False
        )
        self._prometheus = httpx.Client(
            base_url=self._cluster.prometheus_url, timeout=timeout, trust_env=False
        )
        self._weights: dict[str, int] | None = None
        self._attempted: dict[str, int] | None = None

    def applied(self) -> SeldonDeployment | None:
        """Return the deployment as the cluster has it, less the fields that this project does not know."""
        found = self._get()
        if found is None:
            return None
        known = manifest.known_part(found, f"SeldonDeployment {self._settings.deployment_name}")
        # What somebody changes later must not be taken for what this rollout began with.
        self._weights = self._weights or live(known.weights)
        return known

    def check_permission(self) -> None:
        """Ask the API for a patch that it is to check and to forget.

        Raises:
            ClusterError: this account may not patch the deployment.
            NotAppliedError: the API does not answer as it should.
        """
        headers = {"Content-Type": "application/merge-patch+json"}
        self._call("PATCH", params={"dryRun": "All"}, json={}, headers=headers)

    def check(self, canary: str) -> None:
        """Check that the canary can be rendered; its model is fetched on the cluster alone."""
        if not self._settings.model_uri_base:
            fault = "a cluster cannot read this machine's folders: set RENTALS_MODEL_URI_BASE"
            raise manifest.ManifestError([fault], f"the deployment with {canary}")
        manifest.render({canary: 100}, self._settings)

    def apply(self, weights: Mapping[str, int]) -> None:
        """Patch the predictors, and wait until Seldon has done what they say.

        A predictor that is there keeps all that the cluster has of it; a new one is the champion with the
        canary's name and model.
        """
        for _ in range(TRIES):
            found = self._get()
            if found is None:
                raise NotAppliedError(f"{self._path} is gone")
            self._check_unchanged(found)
            # Before it is sent: whoever stops the rollout now must know what may have been taken.
            self._attempted = live(weights)
            patched = self._call(
                "PATCH",
                json={
                    "metadata": {"resourceVersion": found["metadata"]["resourceVersion"]},
                    "spec": {"predictors": self._predictors(found, weights)},
                },
                headers={"Content-Type": "application/merge-patch+json"},
            )
            if patched.status_code != httpx.codes.CONFLICT:
                break
        else:
            raise NotAppliedError(f"{self._path} is changed by others all the time: {TRIES} conflicts")
        self._weights = live(weights)
        self._wait(tuple(weights))

    def requests(self, predictors: tuple[str, ...]) -> Mapping[str, int]:
        """Return what Prometheus counted since each predictor began."""
        return {
            name: round(self._value(f"sum({self._series(self._cluster.requests_series, name)})"))
            for name in predictors
        }

    def arms(self, share: int) -> ArmReader:
        """Read failures and latencies from Prometheus, which knows nothing of ratings and rewards."""

        def read(champion: str, canary: str, since: datetime) -> tuple[Arm, Arm]:
            seconds = max(1, round((datetime.now(UTC) - since).total_seconds()))
            return self._arm(champion, seconds), self._arm(canary, seconds)

        return read

    def _arm(self, predictor: str, seconds: int) -> Arm:
        requests = self._series(self._cluster.requests_series, predictor)
        failed = requests.removesuffix("}") + ',response_code=~"5.."}'
        buckets = self._series(self._cluster.latency_series, predictor)
        latency = self._value(f"histogram_quantile(0.95, sum by (le) (increase({buckets}[{seconds}s])))", nan)
        return Arm(
            requests=self._increase(requests, seconds),
            errors=self._increase(failed, seconds),
            latency_p95_ms=None if isnan(latency) else latency,
        )

    def _increase(self, series: str, seconds: int) -> int:
        """Count since ``seconds`` ago; Prometheus' own ``increase`` misses the first value of a series."""
        counted = f"sum({series}) - (sum({series} offset {seconds}s) or vector(0))"
        return max(0, round(self._value(counted)))

    def _series(self, pattern: str, predictor: str) -> str:
        settings = self._settings
        return pattern.format(
            namespace=settings.namespace, deployment=settings.deployment_name, predictor=predictor
        )

    def _value(self, query: str, default: float = 0.0) -> float:
        """Return the one value of an instant query, ``default`` where there is no series yet."""
        try:
            answer = self._tried(self._prometheus, "GET", "/api/v1/query", params={"query": query})
            result = answer.raise_for_status().json()["data"]["result"]
            return float(result[0]["value"][1]) if result else default
        except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
            raise ClusterError(
                f"Prometheus at {self._cluster.prometheus_url} does not answer ({error}): set "
                "RENTALS_KUBERNETES_PROMETHEUS_URL"
            ) from error

    def _predictors(self, found: dict[str, Any], weights: Mapping[str, int]) -> list[dict[str, Any]]:
        there = {predictor["name"]: predictor for predictor in found["spec"]["predictors"]}
        wanted = []
        for new in render_weights(weights, self._settings).spec.predictors:
            predictor = deepcopy(there.get(new.name) or next(iter(there.values())))
            if new.name not in there:
                predictor["name"] = new.name
                predictor["graph"]["modelUri"] = new.graph.modelUri
                # Names of the champion's own objects, which the canary must not share.
                predictor.get("annotations", {}).pop("seldon.io/svc-name", None)
                for component in predictor.get("componentSpecs", []):
                    component.pop("metadata", None)
            predictor |= {"traffic": new.traffic, "shadow": new.shadow}
            wanted.append(predictor)
        return wanted

    def _check_unchanged(self, found: dict[str, Any]) -> None:
        now = live({one["name"]: one.get("traffic", 0) for one in found["spec"]["predictors"]})
        # A patch whose answer got lost may have been taken.
        if self._weights is not None and now not in (self._weights, self._attempted):
            raise ChangedByOthersError(
                f"the weights of {self._settings.deployment_name} are {now} and not {self._weights}, as this "
                "rollout left them: they stay as they are; roll out again when nobody else changes them"
            )

    def _wait(self, predictors: tuple[str, ...]) -> None:
        """Wait until Seldon says twice in a row that these predictors are up and no other one is.

        It does not say which generation it has seen. Its status stays as it was where only weights change:
        the second look gives it time for these.
        """
        deadline = time.monotonic() + self._cluster.ready_seconds
        status: dict[str, Any] = {}
        seen = 0
        while time.monotonic() < deadline:
            status = (self._get() or {}).get("status", {})
            seen = seen + 1 if self._in_force(status, predictors) else 0
            if seen == LOOKS:
                return
            if status.get("state") == "Failed":
                break
            time.sleep(self._settings.rollout_poll_seconds)
        raise NotAppliedError(
            f"Seldon did not bring {self._settings.deployment_name} up: {status.get('state', 'no status')} "
            f"{status.get('description', '')}".strip()
        )

    def _in_force(self, status: dict[str, Any], predictors: tuple[str, ...]) -> bool:
        up = [
            name
            for name, one in status.get("deploymentStatus", {}).items()
            if one.get("availableReplicas", 0) >= max(1, one.get("replicas", 1))
        ]
        prefixes = tuple(f"{self._settings.deployment_name}-{predictor}-" for predictor in predictors)
        missing = [prefix for prefix in prefixes if not any(name.startswith(prefix) for name in up)]
        left = [name for name in status.get("deploymentStatus", {}) if not name.startswith(prefixes)]
        return status.get("state") == "Available" and not missing and not left

    def _get(self) -> dict[str, Any] | None:
        answer = self._call("GET")
        return None if answer.status_code == httpx.codes.NOT_FOUND else answer.json()

    def _call(self, method: str, **arguments: Any) -> httpx.Response:
        """Ask the API; a conflict and a missing object are answers."""
        try:
            token = self._cluster.token_file.read_text().strip()
        except OSError as error:
            raise ClusterError(
                f"no token in {self._cluster.token_file}: set RENTALS_KUBERNETES_TOKEN_FILE"
            ) from error
        headers = {"Authorization": f"Bearer {token}"} | arguments.pop("headers", {})
        try:
            answer = self._tried(self._api, method, self._path, headers=headers, **arguments)
        except httpx.TransportError as error:
            raise NotAppliedError(
                f"{self._cluster.url} does not answer {method} {self._path}: {error}"
            ) from error
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise ClusterError(
                f"HTTP {answer.status_code} for {method} {self._path}: let the service account get and patch "
                "seldondeployments"
            )
        if answer.is_success or answer.status_code in (httpx.codes.CONFLICT, httpx.codes.NOT_FOUND):
            return answer
        raise NotAppliedError(
            f"HTTP {answer.status_code} for {method} {self._path}: {answer.text[:LONGEST_REASON]}"
        )

    def _tried(self, client: httpx.Client, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Ask again, with growing waits, after silence and faults of the server; give the last answer."""
        retrying = Retrying(
            stop=stop_after_attempt(TRIES),
            wait=wait_exponential(self._cluster.retry_seconds),
            retry=retry_if_exception_type(httpx.TransportError) | retry_if_result(_asks_for_patience),
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        )
        answer: httpx.Response = retrying(client.request, method, path, **arguments)
        return answer


def _certificates(cluster: ClusterSettings) -> ssl.SSLContext | bool:
    if not cluster.url.startswith("https"):
        return False
    try:
        return ssl.create_default_context(cafile=str(cluster.ca_file))
    except OSError as error:
        raise ClusterError(
            f"no certificates in {cluster.ca_file} ({error}): set RENTALS_KUBERNETES_CA_FILE, or run in a pod"
        ) from error


def _asks_for_patience(answer: httpx.Response) -> bool:
    return answer.is_server_error or answer.status_code == httpx.codes.TOO_MANY_REQUESTS
