"""The loop's brake: when an alarm may start a training, and who is told when training does not help.

Each training is written down before it starts. Nothing trains while a trained version waits for its rollout,
soon after the last training, beyond a day's budget, after a person has said stop, or when the last few
trainings brought nothing: then a person is called instead of training on and on.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from feature_repo import lake
from flows import metrics
from flows.alert import alert
from flows.events import on_argo, publish_drift
from flows.runs import FlowFailedError, start
from flows.settings import FlowSettings

if TYPE_CHECKING:
    from serving.rollout import RolloutOutcome

LONGEST_TRAINING = timedelta(days=4)
"""After it a training on Argo that has not ended is taken for dead: all attempts of its steps end before."""

TABLE = """
CREATE TABLE IF NOT EXISTS retrainings (
    id INTEGER PRIMARY KEY, began_at TEXT NOT NULL, until TEXT NOT NULL, reason TEXT NOT NULL,
    outcome TEXT NOT NULL, version INTEGER, detail TEXT NOT NULL
)
"""


class Outcome(StrEnum):
    """How a training ended."""

    RUNNING = "running"
    """It has not; if nothing runs any more, it was killed, which is a failure."""

    REGISTERED = "registered"
    REFUSED = "refused"
    FAILED = "failed"
    ROLLED_BACK = "rolled back"
    """Its version passed the gate and lost its traffic again."""

    FORGIVEN = "forgiven"
    """No training: a person said that those before it are not to be counted."""


@dataclass(frozen=True)
class Retraining:
    """One training that an alarm or a person started, or a person's word."""

    began_at: datetime
    until: pd.Timestamp
    reason: str
    outcome: Outcome
    version: int | None
    detail: str


@dataclass(frozen=True)
class Considered:
    """What became of an alarm."""

    version: int | None
    """The version that was trained, None where none was trained or let through."""

    conclusion: str
    """What happened, and why, in words."""

    gate: str = "nothing was trained"
    """What the gate said of what was trained."""


class RetrainingLog:
    """A SQLite file; what is written is on disk when the call returns."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with self._connected() as connection:
            connection.execute(TABLE)

    def begin(self, until: pd.Timestamp, reason: str, outcome: Outcome = Outcome.RUNNING) -> None:
        """Write that a training begins."""
        with self._connected() as connection:
            connection.execute(
                "INSERT INTO retrainings (began_at, until, reason, outcome, version, detail)"
                " VALUES (?, ?, ?, ?, NULL, '')",
                (datetime.now(UTC).isoformat(), until.isoformat(), reason, outcome),
            )

    def end(self, outcome: Outcome, version: int | None, detail: str) -> None:
        """Write how the last training ended, whatever a person has said meanwhile."""
        with self._connected() as connection:
            connection.execute(
                "UPDATE retrainings SET outcome = ?, version = ?, detail = ?"
                " WHERE id = (SELECT max(id) FROM retrainings WHERE outcome != ?)",
                (outcome, version, detail, Outcome.FORGIVEN),
            )

    def read(self) -> list[Retraining]:
        """Return all, oldest first."""
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT began_at, until, reason, outcome, version, detail FROM retrainings ORDER BY id"
            ).fetchall()
        return [
            Retraining(
                datetime.fromisoformat(at), pd.Timestamp(until), reason, Outcome(outcome), version, detail
            )
            for at, until, reason, outcome, version, detail in rows
        ]

    def clear(self) -> None:
        """Forget all."""
        with self._connected() as connection:
            connection.execute("DELETE FROM retrainings")

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path)) as connection, connection:
            yield connection


def last_training(past: Sequence[Retraining]) -> Retraining | None:
    """Return the last training; a person's word is none."""
    return next((one for one in reversed(past) if one.outcome is not Outcome.FORGIVEN), None)


def log_of(settings: FlowSettings) -> RetrainingLog:
    """Open the log of a home."""
    return RetrainingLog(settings.home / "retrainings.db")


def stop_file(settings: FlowSettings) -> Path:
    """While this file is there, nothing is trained; its text says who stopped it and why."""
    return settings.home / "retraining-stopped"


def objection(
    until: pd.Timestamp,
    past: Sequence[Retraining],
    now: datetime,
    stopped: str | None,
    settings: FlowSettings,
) -> str | None:
    """Return why an alarm must not start a training now, None where it may.

    Args:
        until: day before which ratings count for this training.
        past: the trainings so far, oldest first.
        now: the time, aware.
        stopped: the reason of a person's stop, None where there is none.
        settings: cool-down, budget and patience.
    """
    if stopped is not None:
        return f"retraining is stopped ({stopped}); `python -m flows retraining --go` lets it go on"
    if (count := fruitless(past)) >= settings.retrain_patience:
        return (
            f"the last {count} trainings brought nothing; find out why, then "
            "`python -m flows retraining --go`"
        )
    trainings = [one for one in past if one.outcome is not Outcome.FORGIVEN]
    # One that failed has learnt nothing from its data: it may be tried again at once.
    learnt = [one for one in trainings if one.outcome not in (Outcome.FAILED, Outcome.RUNNING)]
    vain = len(list(takewhile(lambda one: one.outcome is not Outcome.REGISTERED, reversed(learnt))))
    days = settings.retrain_cooldown_days * 2 ** min(vain, fruitless(past))
    if learnt and 0 <= (until - learnt[-1].until).days < days:
        return (
            f"the last training was on data until {learnt[-1].until:%Y-%m-%d}: the next one may be on data "
            f"{days} days later"
        )
    today = [one for one in trainings if (now - one.began_at).total_seconds() < 24 * 3600]
    if len(today) >= settings.retrain_daily_budget:
        return f"{len(today)} trainings began within a day, which is the budget"
    return None


def fruitless(past: Sequence[Retraining]) -> int:
    """Count the latest trainings in a row that brought no version which serves, or may yet."""
    count = 0
    for one in reversed(past):
        if one.outcome in (Outcome.REGISTERED, Outcome.FORGIVEN):
            break
        count += 1
    return count


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


def stopped(settings: FlowSettings) -> str | None:
    """Why a person has stopped all training, None where nobody has."""
    try:
        return stop_file(settings).read_text().strip() or "no reason given"
    except FileNotFoundError:
        return None
