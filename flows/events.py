"""What starts a flow on a cluster, where no flow waits for the next: the events of Argo."""

import os
from typing import Any

import pandas as pd

from flows.parameters import BY_HAND, ParameterError
from flows.runs import FlowFailedError

DRIFT = "rentals-drift"
"""The event by which the monitoring flow starts the training."""


def on_argo() -> bool:
    """Whether Argo runs this step."""
    return "ARGO_WORKFLOW_TEMPLATE" in os.environ


def publish_drift(until: pd.Timestamp, reason: str) -> None:
    """Start the training on Argo, on ratings known before ``until``.

    Raises:
        FlowFailedError: the event was not taken.
    """
    from metaflow.integrations import ArgoEvent
    from metaflow.plugins.argo.argo_events import ArgoEventException

    event = ArgoEvent(DRIFT).add_to_payload("until", f"{until:%Y-%m-%d}").add_to_payload("reason", reason)
    try:
        event.publish(ignore_errors=False)
    except ArgoEventException as error:
        raise FlowFailedError(f"{error}; is METAFLOW_ARGO_EVENTS_WEBHOOK_URL right?") from error


def reason_of(reason: str, trigger: Any) -> str:
    """Return why a training runs.

    Args:
        reason: the parameter of the flow.
        trigger: Metaflow's ``current.trigger``; None where a person started the flow.
    """
    return reason if reason != BY_HAND or trigger is None else f"after {_run(trigger.event.id)}"


def version_to_roll_out(version: int, trigger: Any) -> int | None:
    """Return the version that a rollout is about; None where the gate of the training let none through.

    Args:
        version: the parameter of the flow, 0 for none.
        trigger: Metaflow's ``current.trigger``, which knows the run of the training.

    Raises:
        ParameterError: neither tells a version.
    """
    if version:
        return version
    if trigger is None or trigger.run is None:
        raise ParameterError("--version is missing: give the registered version to roll out")
    return trigger.run.data.version


def _run(pathspec: str) -> str:
    """The run of a task: its flow and number."""
    return "/".join(pathspec.split("/")[:2])
