"""What turns the steps of flows into pods, for `--with kubernetes` and Argo; else it does nothing."""

import os
from collections.abc import Callable, Iterator
from typing import Any

from metaflow import FlowMutator, StepMutator, schedule, trigger, trigger_on_finish

from flows.commit import git_commit
from flows.events import DRIFT
from flows.settings import CHECKOUT, ROOMS, ClusterSettings

ON_CLUSTER = "RENTALS_ON_CLUSTER"
"""Set in all processes of a run on a cluster: Metaflow tells only the first one that its steps are pods."""


class pod(StepMutator):  # noqa: N801  (a decorator)
    """Where a step's pod differs from those of the other steps."""

    def init(self, gpu: bool = False, hours: float = 2, again: bool = True, account: str = "") -> None:
        """Take what differs.

        Args:
            gpu: the step trains, and takes the GPUs of the settings.
            hours: longest life of one attempt.
            again: the step can be repeated.
            account: its service account, where that of the settings may not do what it does.
        """
        self.gpu, self.hours, self.again, self.account = gpu, hours, again, account

    def mutate(self, mutable_step: Any) -> None:
        """Describe the pod where the step becomes one; Metaflow calls it again once it knows."""
        if not mutable_step.has_decorator("kubernetes") and ON_CLUSTER not in os.environ:
            return
        from metaflow.plugins.kubernetes.kubernetes_decorator import KubernetesDecorator

        os.environ[ON_CLUSTER] = "1"
        settings = ClusterSettings()
        told = _told(mutable_step, "kubernetes", KubernetesDecorator.defaults)
        attributes = self.attributes(settings) | told
        mutable_step.add_decorator("kubernetes", deco_kwargs=attributes, duplicates=mutable_step.OVERRIDE)
        variables = pod_variables(settings) | _told(mutable_step, "environment", {}).get("vars", {})
        mutable_step.add_decorator(
            "environment", deco_kwargs={"vars": variables}, duplicates=mutable_step.OVERRIDE
        )
        mutable_step.add_decorator("timeout", deco_kwargs={"seconds": int(self.hours * 3600)})
        if self.again and settings.retries:
            mutable_step.add_decorator("retry", deco_kwargs={"times": settings.retries})

    def attributes(self, settings: ClusterSettings) -> dict[str, Any]:
        """Return what Metaflow's ``@kubernetes`` is told; it takes nothing for an empty list."""
        gpu = self.gpu and settings.gpus
        attributes = {
            "cpu": settings.cpu,
            "memory": settings.memory,
            "image": settings.image,
            "service_account": self.account or settings.service_account,
            "secrets": settings.secrets,
            "persistent_volume_claims": {settings.home_claim: str(settings.home)},
            "node_selector": settings.node_selector | (settings.gpu_node_selector if gpu else {}),
            "tolerations": settings.tolerations + (settings.gpu_tolerations if gpu else []),
            "gpu": settings.gpus if gpu else None,
        }
        return {name: value for name, value in attributes.items() if value}


class pods(FlowMutator):  # noqa: N801  (a decorator)
    """Makes every step of a flow a ``pod`` that is not one yet."""

    def pre_mutate(self, mutable_flow: Any) -> None:
        """Add what the steps do not say themselves."""
        for _, mutable_step in mutable_flow.steps:
            mutable_step.add_decorator(pod)

    def add_to_package(self) -> Iterator[tuple[Any, ...]]:
        """Take the code along where the steps become pods, which run that and not what their image has."""
        from metaflow.packaging_sys import ContentType

        if ON_CLUSTER not in os.environ:
            return
        # File by file: of a module that is a package Metaflow would take the first file alone.
        for room in ROOMS:
            for file in (CHECKOUT / room).rglob("*"):
                if file.is_file() and file.suffix != ".pyc":
                    yield str(file), str(file.relative_to(CHECKOUT)), ContentType.CODE_CONTENT


def pod_variables(settings: ClusterSettings) -> dict[str, str]:
    """Return the environment of every step."""
    own = {name: value for name, value in os.environ.items() if name.startswith("RENTALS_CLUSTER_")}
    return {
        **own,
        ON_CLUSTER: "1",
        # Where Metaflow looks for what a pod tells of its step, if there is no metadata service.
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": ".",
        # The image has all that is needed.
        "METAFLOW_SKIP_INSTALL_DEPENDENCIES": "1",
        "RENTALS_GIT_COMMIT": git_commit(),
        "RENTALS_HOME": str(settings.home),
        # What is only for the moment is better off on the node than on the shared volume.
        "TMPDIR": "/tmp",  # noqa: S108
        **settings.variables,
    }


def scheduled(cron: str) -> Callable[[Any], Any]:
    """Start a flow by the clock (UTC); never for an empty ``cron``."""
    return schedule(cron=cron, timezone="Etc/UTC") if cron else lambda flow: flow


def training_trigger(settings: ClusterSettings) -> Callable[[Any], Any]:
    """Start the training after the features, or by drift with its reason and the end of its window.

    A deployment has either flows or events as its triggers, and of several it waits for all: the training
    flow is deployed twice.
    """
    if settings.train_on == "drift":
        return trigger(event={"name": DRIFT, "parameters": {"until": "until", "reason": "reason"}})
    return trigger_on_finish(flow="FeaturesFlow")


def rollout_trigger(settings: ClusterSettings) -> Callable[[Any], Any]:
    """Start the rollout after a training, or after a refresh: it is deployed twice, as the training is."""
    return trigger_on_finish(flow="RefreshFlow" if settings.roll_out_after == "refresh" else "TrainFlow")


def _told(mutable_step: Any, decorator: str, defaults: dict[str, Any]) -> dict[str, Any]:
    """What a step or `--with` tells a decorator, without what goes by default."""
    told: dict[str, Any] = next((given for *_, given in mutable_step.get_decorator_specs(decorator)), {})
    return {name: value for name, value in told.items() if value != defaults.get(name)}
