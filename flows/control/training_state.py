"""What the loop has trained, whether it trains now, and what speaks against training again."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pandas as pd

from feature_repo import history
from feature_repo.lake import LakeError
from feature_repo.settings import FeatureSettings
from flows import brake, retraining
from flows.retraining_log import Outcome, Retraining, last_training, log_of
from flows.settings import FlowSettings
from models.registry_errors import RegistryError
from models.settings import ModelSettings

MOST_TRAININGS = 20
"""Trainings that a person looks back at."""


@dataclass(frozen=True)
class TrainingState:
    """The loop's trainings, and whether there may be another one."""

    running: bool
    """Whether a training, or the rollout of its version, runs now."""

    stopped: str | None
    """Why a person has stopped all training, None where nobody has."""

    objection: str | None
    """Why none may start now, None where one may."""

    waiting: int | None
    """Version that passed the gate and waits for its rollout."""

    fruitless: int
    """The latest trainings in a row that brought nothing."""

    needs_person: bool
    """Whether these are so many that nothing trains any more."""

    trainings: list[Retraining]
    """The latest ones, newest first; one that was killed has failed."""


def training_state(settings: FlowSettings) -> TrainingState:
    """Return the state of the loop of a home."""
    running, stopped = retraining.is_running(settings), brake.stopped(settings)
    past = log_of(settings).read()
    last = last_training(past)
    if last and last.outcome is Outcome.RUNNING and not running:
        killed = replace(last, outcome=Outcome.FAILED, detail="it was killed")
        past = [killed if one is last else one for one in past]
    waiting, objection = None, None
    try:
        waiting = _waiting()
    except RegistryError as error:
        objection = str(error)
    if running:
        objection = "a training is running, or the rollout of its version"
    elif objection is None:
        objection = _objection(past, stopped, settings)
    fruitless = brake.fruitless(past)
    return TrainingState(
        running=running,
        stopped=stopped,
        objection=objection,
        waiting=waiting,
        fruitless=fruitless,
        needs_person=fruitless >= settings.retrain_patience,
        trainings=past[: -MOST_TRAININGS - 1 : -1],
    )


def until(settings: FlowSettings) -> pd.Timestamp:
    """The day before which ratings count in a training that starts now.

    Raises:
        LakeError: there are no features to train on.
    """
    return history.as_of(FeatureSettings(home=settings.home))


def _objection(past: list[Retraining], stopped: str | None, settings: FlowSettings) -> str | None:
    try:
        return brake.objection(until(settings), past, datetime.now(UTC), stopped, settings)
    except LakeError as error:
        return str(error)


def _waiting() -> int | None:
    settings = ModelSettings()
    # Asking a registry in a file that is not there would make it.
    if not settings.mlflow_tracking_uri and not settings.mlflow.is_dir():
        return None
    return retraining.waiting_version()
