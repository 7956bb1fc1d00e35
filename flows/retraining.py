"""The loop's trainings: started by an alarm or a person, written down, and told when they do not help.

Each is written down before it starts. Nothing trains while a trained version waits for its rollout, or where
the brake objects; when the last few brought nothing, a person is called instead of training on and on.
"""

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from feature_repo import lake
from flows import metrics
from flows.alert import alert
from flows.brake import fruitless, objection, stop_file, stopped
from flows.events import on_argo, publish_drift
from flows.retraining_log import Outcome, RetrainingLog, last_training, log_of
from flows.runs import FlowFailedError, start
from flows.settings import FlowSettings

if TYPE_CHECKING:
    from serving.rollout import RolloutOutcome

LONGEST_TRAINING = timedelta(days=4)
"""After it a training on Argo that has not ended is taken for dead: all attempts of its steps end before."""


@dataclass(frozen=True)
class Considered:
    """What became of an alarm."""

    version: int | None
    """The version that was trained, None where none was trained or let through."""

    conclusion: str
    """What happened, and why, in words."""

    gate: str = "nothing was trained"
    """What the gate said of what was trained."""


def retrain(reason: str, until: pd.Timestamp, roll_out: bool) -> Considered:
    """Train if nothing speaks against it, and roll out what the gate lets through if asked to.

    On Argo nobody waits: an event starts the training, whose end starts the rollout; both write down how they
    ended.

    Args:
        reason: why, in words: what an alarm is about, or what a person says; it is kept with the training.
        until: day before which ratings count.
        roll_out: give the new version its traffic step by step.

    Raises:
        FlowFailedError: the training or the rollout failed; it is written down.
    """
    settings = FlowSettings()
    log = log_of(settings)
    with ExitStack() as stack:
        try:
            stack.enter_context(lake.exclusive(_claim(settings)))
        except lake.LakeError:
            return Considered(None, f"{reason}: another retraining is running")
        if _runs_on_argo(log):
            return Considered(None, f"{reason}: another retraining is running")
        stack.callback(_tell, log, settings)
        _bury(log, settings)
        waiting, why = waiting_version(), stopped(settings)
        if waiting is not None and why is None:
            if not roll_out or on_argo():
                return Considered(None, f"{reason}, but version {waiting} waits for its rollout")
            return Considered(waiting, f"{reason}: {_roll_out(waiting, settings)}")
        if against := objection(until, log.read(), datetime.now(UTC), why, settings):
            return Considered(None, f"{reason}, but {against}")
        log.begin(until, reason)
        try:
            if on_argo():
                publish_drift(until, reason)
                return Considered(None, f"{reason}: the training was started", "it has not ended yet")
            trained = start("train", until=f"{until:%Y-%m-%d}", reason=reason).data
        except FlowFailedError as error:
            _end(log, settings, Outcome.FAILED, None, str(error))
            raise
        version, gate = trained.version, str(trained.gated.decision)
        if version is None:
            _end(log, settings, Outcome.REFUSED, None, gate)
            conclusion = f"{reason}: trained again, but there is no new version, the gate {gate}"
            return Considered(None, conclusion, gate)
        _end(log, settings, Outcome.REGISTERED, version, gate)
        conclusion = f"{reason}: trained version {version}, the gate {gate}"
        if roll_out:
            conclusion += f"; {_roll_out(version, settings)}"
        return Considered(version, conclusion, gate)


def refresh(reason: str, until: pd.Timestamp, roll_out: bool) -> Considered:
    """Export the champion with the catalogue as of ``until``, unless a person has stopped the loop.

    It is no training: the brake's budget and cool-down do not count it. A version that waits goes first.

    Args:
        reason: why, in words; it is kept with the version.
        until: time of the catalogue.
        roll_out: give the new version its traffic step by step.

    Raises:
        FlowFailedError: the refresh or its rollout failed.
    """
    settings = FlowSettings()
    with ExitStack() as stack:
        try:
            stack.enter_context(lake.exclusive(_claim(settings)))
        except lake.LakeError:
            return Considered(None, f"{reason}: a retraining is running")
        if (why := stopped(settings)) is not None:
            return Considered(None, f"{reason}, but the loop is stopped ({why})")
        if on_argo():
            return Considered(None, f"{reason}: the refresh has its own schedule")
        if (waiting := waiting_version()) is not None:
            return Considered(None, f"{reason}, but version {waiting} waits for its rollout")
        refreshed = start("refresh", until=f"{until:%Y-%m-%d}", reason=reason).data
        version, conclusion = refreshed.version, f"{reason}: {refreshed.conclusion}"
        if roll_out and version:
            conclusion += f"; {_roll_out(version, settings)}"
        return Considered(version, conclusion, "a refresh passes no gate")


def trained_on_argo(until: str, reason: str, version: int | None, gate: str) -> None:
    """Write how a training ended that drift has started on Argo; elsewhere whoever started it does.

    Args:
        until: day before which ratings counted.
        reason: why it ran, as the event told.
        version: None where the gate refused.
        gate: the decision in words.
    """
    settings = FlowSettings()
    log = log_of(settings)
    last = last_training(log.read())
    if not on_argo() or last is None or last.outcome is not Outcome.RUNNING:
        return
    if (f"{last.until:%Y-%m-%d}", last.reason) == (until, reason):
        _end(log, settings, Outcome.REGISTERED if version else Outcome.REFUSED, version, gate)


def rolled_out_on_argo(version: int, outcome: "RolloutOutcome") -> None:
    """Write that a version of the loop lost its traffic on Argo; elsewhere whoever rolled it out does."""
    if on_argo() and not outcome.promoted:
        lost(version, "; ".join(outcome.reasons), FlowSettings())


def _roll_out(version: int, settings: FlowSettings) -> str:
    """Give a version its traffic step by step, and return how that ended."""
    outcome = start("rollout", version=version).data.outcome
    why = "; ".join(outcome.reasons)
    if not outcome.promoted:
        lost(version, why, settings)
    return f"version {version} was {'promoted' if outcome.promoted else 'rolled back'}: {why}"


def lost(version: int, why: str, settings: FlowSettings) -> None:
    """Write down that a version has lost its traffic again, if the last training has brought it."""
    log = log_of(settings)
    last = last_training(log.read())
    # One that was trained by hand is no step of the loop; whoever is told twice writes once.
    if last and last.version == version and last.outcome is Outcome.REGISTERED:
        _end(log, settings, Outcome.ROLLED_BACK, version, why)


def _end(
    log: RetrainingLog, settings: FlowSettings, outcome: Outcome, version: int | None, detail: str
) -> None:
    """Write how the last training ended, and call a person when too many have ended in vain."""
    log.end(outcome, version, detail)
    if fruitless(log.read()) == settings.retrain_patience:
        alert(
            f"{settings.retrain_patience} trainings in a row brought nothing, the last one: {detail}. "
            "Nothing trains any more until `python -m flows retraining --go`.",
            settings.alert_url,
        )
    _tell(log, settings)


def is_running(settings: FlowSettings) -> bool:
    """Whether a training, or the rollout of its version, runs in whatever process of this machine."""
    from serving.processes import is_locked

    return is_locked(lake.lock_of(_claim(settings)))


def _claim(settings: FlowSettings) -> Path:
    """What whoever trains holds meanwhile."""
    return settings.home / "retraining"


def _runs_on_argo(log: RetrainingLog) -> bool:
    """Whether a training runs of which this process knows by the log alone."""
    last = last_training(log.read())
    if not on_argo() or last is None or last.outcome is not Outcome.RUNNING:
        return False
    return datetime.now(UTC) - last.began_at < LONGEST_TRAINING


def _bury(log: RetrainingLog, settings: FlowSettings) -> None:
    """Write down that a training which nobody runs any more has failed."""
    last = last_training(log.read())
    if last and last.outcome is Outcome.RUNNING:
        _end(log, settings, Outcome.FAILED, None, "it was killed")


def _tell(log: RetrainingLog, settings: FlowSettings) -> None:
    """Tell Prometheus of the log and of a person's stop."""
    past, stopped = log.read(), stop_file(settings)
    counted = Counter(one.outcome for one in past)
    stopped_at = stopped.stat().st_mtime if stopped.exists() else 0.0
    metrics.retrainings({one: counted[one] for one in Outcome}, fruitless(past), stopped_at, settings)


def stop(settings: FlowSettings, why: str) -> None:
    """Let nothing train until ``go``."""
    from serving.files import replace_text

    replace_text(stop_file(settings), f"{why}\n")
    _tell(log_of(settings), settings)


def go(settings: FlowSettings, why: str = "") -> None:
    """Take a stop back, and forgive the trainings that brought nothing."""
    stop_file(settings).unlink(missing_ok=True)
    reason = f"by hand: {why}" if why else "by hand"
    log = log_of(settings)
    log.begin(pd.Timestamp.now(tz="UTC").normalize(), reason, Outcome.FORGIVEN)
    _tell(log, settings)


def waiting_version() -> int | None:
    """The version that was let through and has not had its traffic yet."""
    from models.registry import CHALLENGER, Registry

    challenger = Registry().alias(CHALLENGER)
    return challenger.version if challenger else None
