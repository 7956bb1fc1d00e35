"""Deploys every flow to Argo Workflows, or writes what would be deployed: `python -m flows deploy`."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import yaml

from flows.runs import FLOWS
from flows.settings import FlowSettings

NEEDED = (
    "METAFLOW_DATASTORE_SYSROOT_S3",
    "METAFLOW_SERVICE_URL",
    "METAFLOW_ARGO_EVENTS_EVENT",
    "METAFLOW_ARGO_EVENTS_EVENT_SOURCE",
    "METAFLOW_ARGO_EVENTS_SERVICE_ACCOUNT",
    "METAFLOW_ARGO_EVENTS_WEBHOOK_URL",
)
"""Metaflow's settings without which a deployed flow could neither keep its results nor start the next one."""

STAND_INS = {
    "METAFLOW_ARGO_EVENTS_EVENT": "metaflow-event",
    "METAFLOW_ARGO_EVENTS_EVENT_SOURCE": "argo-events-webhook",
    "METAFLOW_ARGO_EVENTS_SERVICE_ACCOUNT": "operate-workflow-sa",
    "METAFLOW_ARGO_EVENTS_WEBHOOK_URL": "http://argo-events-webhook-eventsource-svc:12000/metaflow-event",
}
"""What a dry run writes where a setting is missing: the names of Metaflow's own templates."""


class DeployError(RuntimeError):
    """A flow cannot be deployed; the message names the remedy."""


@dataclass(frozen=True)
class Deployment:
    """A flow, the name of its workflow where it is not the flow's, and settings of this deployment."""

    flow: str
    name: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)


DEPLOYMENTS = (
    Deployment("features"),
    Deployment("train", variables={"RENTALS_CLUSTER_TRAIN_ON": "features"}),
    Deployment("train", "trainflow-on-drift", {"RENTALS_CLUSTER_TRAIN_ON": "drift"}),
    Deployment("refresh"),
    Deployment("rollout", variables={"RENTALS_CLUSTER_ROLL_OUT_AFTER": "train"}),
    Deployment("rollout", "rolloutflow-on-refresh", {"RENTALS_CLUSTER_ROLL_OUT_AFTER": "refresh"}),
    Deployment("monitor"),
    Deployment("precompute"),
    Deployment("search"),
)


def deploy() -> None:
    """Deploy all flows to the cluster that ``kubectl`` uses too.

    Raises:
        DeployError: a setting is missing, or the cluster does not take a flow.
    """
    if missing := [name for name in NEEDED if not os.environ.get(name)]:
        raise DeployError(
            f"set {', '.join(missing)} (docs/argo.md), or look first: make deploy-flows DRY_RUN=1"
        )
    print(_create_all({"METAFLOW_DEFAULT_METADATA": "service"}))


def dry_run() -> Path:
    """Write what ``deploy`` would send, to ``argo/`` below the home, and return that folder.

    What the flows are sent to is a recorder on this machine. Without an S3 server in the settings, their code
    goes to one that lives as long as this call, so that nothing needs to be set in order to look.

    Raises:
        DeployError: a flow cannot be compiled.
    """
    from flows import stand_ins

    folder = FlowSettings().home / "argo"
    with ExitStack() as stack:
        variables = {name: value for name, value in STAND_INS.items() if not os.environ.get(name)}
        if not os.environ.get("METAFLOW_DATASTORE_SYSROOT_S3"):
            variables |= stack.enter_context(stand_ins.s3())
        settings, sent = stack.enter_context(stand_ins.cluster())
        _create_all(variables | settings)
    written = folder.with_name("argo.new")
    shutil.rmtree(written, ignore_errors=True)
    written.mkdir(parents=True)
    for resource in sent:
        name = f"{resource['metadata']['name']}.{resource['kind'].lower()}.yaml"
        (written / name).write_text(yaml.safe_dump(resource, sort_keys=False))
    shutil.rmtree(folder, ignore_errors=True)
    written.rename(folder)
    return folder


def _create_all(variables: Mapping[str, str]) -> str:
    # Each is a process that mostly waits for its imports and for the servers.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return "\n".join(pool.map(partial(_create, variables=variables), DEPLOYMENTS))


def _create(deployment: Deployment, variables: Mapping[str, str]) -> str:
    name = ["--name", deployment.name] if deployment.name else []
    done = subprocess.run(
        [
            *(sys.executable, str(FLOWS / f"{deployment.flow}.py"), "--no-pylint", "--datastore", "s3"),
            *("argo-workflows", *name, "create"),
        ],
        env={**os.environ, "METAFLOW_DEFAULT_DATASTORE": "s3", **variables, **deployment.variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DeployError(f"flows/{deployment.flow}.py was not deployed: {done.stdout.strip()}")
    return done.stdout
