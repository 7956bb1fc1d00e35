"""Every decision of a rollout, written before it is acted upon: what a killed rollout resumes from."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

_TABLE = """
CREATE TABLE IF NOT EXISTS decisions (
    id INTEGER PRIMARY KEY, at TEXT NOT NULL, champion TEXT NOT NULL, canary TEXT NOT NULL,
    share INTEGER NOT NULL, action TEXT NOT NULL, reasons TEXT NOT NULL, figures TEXT NOT NULL
)
"""


class Action(StrEnum):
    """What a rollout does next."""

    START = "start"
    """Give the canary its share."""

    PROMOTE = "promote"
    """Give it all the traffic."""

    ROLLBACK = "rollback"
    """Take it back, for good."""

    INTERRUPT = "interrupt"
    """Take it back though nothing was found against it: it was stopped, was late, or did not come up."""


@dataclass(frozen=True)
class LoggedDecision:
    """One line of the log."""

    at: datetime
    champion: str
    canary: str
    share: int
    """Percent of the traffic which the canary had, or gets when the action is ``start``."""

    action: Action
    reasons: list[str]
    figures: dict[str, float]


class DecisionLog:
    """A SQLite file; reading and writing may come from different processes."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with self._connected() as connection:
            connection.execute(_TABLE)

    def append(
        self,
        champion: str,
        canary: str,
        share: int,
        action: Action,
        reasons: list[str],
        figures: dict[str, float] | None = None,
    ) -> None:
        """Write a decision; it is on disk when this returns."""
        with self._connected() as connection:
            connection.execute(
                "INSERT INTO decisions (at, champion, canary, share, action, reasons, figures)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    datetime.now(UTC).isoformat(),
                    *(champion, canary, share, action),
                    *(json.dumps(reasons), json.dumps(figures or {})),
                ),
            )

    def read(self) -> list[LoggedDecision]:
        """Return all decisions, oldest first."""
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT at, champion, canary, share, action, reasons, figures FROM decisions ORDER BY id"
            ).fetchall()
        return [
            LoggedDecision(
                datetime.fromisoformat(at),
                *(champion, canary, share, Action(action)),
                *(json.loads(reasons), json.loads(figures)),
            )
            for at, champion, canary, share, action, reasons, figures in rows
        ]

    def last(self) -> LoggedDecision | None:
        """The latest decision, None before the first."""
        decisions = self.read()
        return decisions[-1] if decisions else None

    def rolled_back(self, canary: str) -> LoggedDecision | None:
        """The latest decision by which ``canary`` was taken back for good, if there is one."""
        against = [one for one in self.read() if one.canary == canary and one.action is Action.ROLLBACK]
        return against[-1] if against else None

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path)
        try:
            with connection:
                yield connection
        finally:
            connection.close()
