"""What the loop trained, why and how it ended: a SQLite file in the home."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import pandas as pd

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
    """One training that an alarm or a person started, or a person's word."""

    began_at: datetime
    until: pd.Timestamp
    reason: str
    outcome: Outcome
    version: int | None
    detail: str


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
