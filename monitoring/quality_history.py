"""What batches and features looked like, run by run, to compare the next ones with: one SQLite file."""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from monitoring.batch_quality import BatchFigures

TABLES = (
    "CREATE TABLE IF NOT EXISTS batches"
    " (batch TEXT PRIMARY KEY, recorded_at TEXT NOT NULL, figures TEXT NOT NULL, findings TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS features"
    " (as_of TEXT, feature_table TEXT, recorded_at TEXT NOT NULL, rows INTEGER NOT NULL,"
    " known TEXT NOT NULL, PRIMARY KEY (as_of, feature_table))",
)


@dataclass(frozen=True)
class KnownFeatures:
    """The features of one table that passed, as of a time."""

    as_of: datetime
    rows: int
    known: Mapping[str, float]
    """Share of the rows whose value is known, by feature."""


class QualityHistory:
    """What is written is on disk when the call returns; a batch or run that comes again replaces itself."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with self._connected() as connection:
            for table in TABLES:
                connection.execute(table)

    def record_batch(self, figures: BatchFigures, findings: Sequence[str]) -> None:
        """Remember a batch that has landed, and what was found."""
        with self._connected() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO batches VALUES (?, ?, ?, ?)",
                (figures.batch, _now(), json.dumps(asdict(figures), default=str), json.dumps([*findings])),
            )

    def batches(self) -> list[tuple[BatchFigures, list[str]]]:
        """Return the batches with their findings, in the order in which they landed."""
        with self._connected() as connection:
            rows = connection.execute("SELECT figures, findings FROM batches ORDER BY recorded_at").fetchall()
        return [(_figures(json.loads(figures)), json.loads(findings)) for figures, findings in rows]

    def record_features(self, table: str, features: KnownFeatures) -> None:
        """Remember features that passed."""
        with self._connected() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?, ?)",
                (features.as_of.isoformat(), table, _now(), features.rows, json.dumps(dict(features.known))),
            )

    def last_features(self, table: str, as_of: datetime) -> KnownFeatures | None:
        """Return the latest features of ``table`` up to ``as_of``; a later time's are no past of it."""
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT as_of, rows, known FROM features WHERE feature_table = ?", (table,)
            ).fetchall()
        past = [
            KnownFeatures(datetime.fromisoformat(at), rows, json.loads(known)) for at, rows, known in rows
        ]
        return max((one for one in past if one.as_of <= as_of), key=lambda one: one.as_of, default=None)

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path)) as connection, connection:
            yield connection


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _figures(stored: dict) -> BatchFigures:
    times = {
        name: datetime.fromisoformat(stored[name]) if stored[name] else None for name in ("first", "newest")
    }
    return BatchFigures(**(stored | times))
