"""The loop's brake: when an alarm may start a training, and who is told when training does not help.

Each training is written down before it starts. Nothing trains while a trained version waits for its rollout,
soon after the last training, beyond a day's budget, after a person has said stop, or when the last few
trainings brought nothing: then a person is called instead of training on and on.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import pandas as pd

from feature_repo import lake
from flows.alert import alert
from flows.runs import FlowFailedError, start
from flows.settings import FlowSettings

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
    """One training that an alarm started, or a person's word."""

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
        """Write how the last training ended."""
        with self._connected() as connection:
            connection.execute(
                "UPDATE retrainings SET outcome = ?, version = ?, detail = ?"
                " WHERE id = (SELECT max(id) FROM retrainings)",
                (outcome, version, detail),
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
    learnt = [one.until for one in past if one.outcome in (Outcome.REGISTERED, Outcome.REFUSED)]
    if learnt and 0 <= (until - learnt[-1]).days < settings.retrain_cooldown_days:
        return (
            f"the last training was on data until {learnt[-1]:%Y-%m-%d}: the next one may be on data "
            f"{settings.retrain_cooldown_days} days later"
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


def retrain(reasons: Sequence[str], until: pd.Timestamp, roll_out: bool) -> Considered:
    """Train on an alarm if nothing speaks against it, and roll out what the gate lets through if asked to.

    Args:
        reasons: what the alarm is about, in words; together the reason of the training.
        until: day before which ratings count.
        roll_out: give the new version its traffic step by step.

    Raises:
        FlowFailedError: the training or the rollout failed; it is written down.
    """
    settings, reason = FlowSettings(), "; ".join(reasons)
    log = log_of(settings)
    with ExitStack() as stack:
        try:
            stack.enter_context(lake.exclusive(settings.home / "retraining"))
        except lake.LakeError:
            return Considered(None, f"{reason}: another retraining is running")
        _bury(log, settings)
        waiting, stopped = _waiting(), _stopped(settings)
        if waiting is not None and stopped is None:
            if not roll_out:
                return Considered(None, f"{reason}, but version {waiting} waits for its rollout")
            return Considered(waiting, f"{reason}: {_roll_out(waiting, log, settings)}")
        if against := objection(until, log.read(), datetime.now(UTC), stopped, settings):
            return Considered(None, f"{reason}, but {against}")
        log.begin(until, reason)
        try:
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
            conclusion += f"; {_roll_out(version, log, settings)}"
        return Considered(version, conclusion, gate)


def _roll_out(version: int, log: RetrainingLog, settings: FlowSettings) -> str:
    """Give a version its traffic step by step, and return how that ended."""
    outcome = start("rollout", version=version).data.outcome
    why = "; ".join(outcome.reasons)
    past = log.read()
    # One that was trained by hand is no step of the loop.
    if not outcome.promoted and past and past[-1].version == version:
        _end(log, settings, Outcome.ROLLED_BACK, version, why)
    return f"version {version} was {'promoted' if outcome.promoted else 'rolled back'}: {why}"


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


def _bury(log: RetrainingLog, settings: FlowSettings) -> None:
    """Write down that a training which nobody runs any more has failed."""
    past = log.read()
    if past and past[-1].outcome is Outcome.RUNNING:
        _end(log, settings, Outcome.FAILED, None, "it was killed")


def stop(settings: FlowSettings, why: str) -> None:
    """Let nothing train until ``go``."""
    stop_file(settings).parent.mkdir(parents=True, exist_ok=True)
    stop_file(settings).write_text(f"{why}\n")


def go(settings: FlowSettings) -> None:
    """Take a stop back, and forgive the trainings that brought nothing."""
    stop_file(settings).unlink(missing_ok=True)
    log_of(settings).begin(pd.Timestamp.now(tz="UTC").normalize(), "by hand", Outcome.FORGIVEN)


def _waiting() -> int | None:
    """The version that was let through and has not had its traffic yet."""
    from models.registry import CHALLENGER, Registry

    challenger = Registry().alias(CHALLENGER)
    return challenger.version if challenger else None


def _stopped(settings: FlowSettings) -> str | None:
    try:
        return stop_file(settings).read_text().strip() or "no reason given"
    except FileNotFoundError:
        return None
