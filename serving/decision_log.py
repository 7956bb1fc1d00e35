"""Every decision of a rollout, written before it is acted upon."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_TABLE = """
CREATE TABLE IF NOT EXISTS decisions (
    id INTEGER PRIMARY KEY, at TEXT NOT NULL, champion TEXT NOT NULL, canary TEXT NOT NULL,
    share INTEGER NOT NULL, action TEXT NOT NULL, reasons TEXT NOT NULL, figures TEXT NOT NULL
)
"""


@dataclass(frozen=True)
class LoggedDecision:
    """One line of the log."""

    at: datetime
    champion: str
    canary: str
    share: int
    """Percent of the traffic which the canary had, or gets when the action is ``start``."""

    action: str
    """``start``, ``promote`` or ``rollback``."""

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
        action: str,
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
                *(champion, canary, share, action),
                *(json.loads(reasons), json.loads(figures)),
            )
            for at, champion, canary, share, action, reasons, figures in rows
        ]

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path)
        try:
            with connection:
                yield connection
        finally:
            connection.close()
