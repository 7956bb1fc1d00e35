"""What serves now, and what the rollout has decided."""

from dataclasses import dataclass

from serving import rollback
from serving.decision_log import DecisionLog, LoggedDecision
from serving.rollback import Rollback
from serving.settings import ServingSettings
from serving.status import RuntimeStatus, status

MOST_DECISIONS = 30
"""Decisions that a person looks back at."""


@dataclass(frozen=True)
class ServingState:
    """The local runtime, and the rollout in it."""

    runtime: RuntimeStatus
    rollout_running: bool
    rollback: Rollback | None
    """What a person can take back now, None where there is nothing."""

    decisions: list[LoggedDecision]
    """The latest ones, newest first."""


def serving_state(settings: ServingSettings) -> ServingState:
    """Look at what is served from a home.

    Raises:
        StateError: the state of the runtime is damaged.
        SupervisionError: supervisord does not answer.
        ManifestError: the applied manifest is damaged.
        RolloutDatabaseError: the decisions cannot be read.
    """
    decisions = DecisionLog(settings.decisions).read()
    return ServingState(
        runtime=status(settings),
        rollout_running=rollback.is_running(settings),
        rollback=rollback.possible(settings),
        decisions=decisions[: -MOST_DECISIONS - 1 : -1],
    )
