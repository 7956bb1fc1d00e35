"""What the stream must not forget: one SQLite file, one transaction per micro-batch."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from feature_repo.stream.events import COLUMNS
from feature_repo.transforms.running import LEAVING, WIDTH, State

SCHEMA = """
CREATE TABLE IF NOT EXISTS running (
    number INTEGER PRIMARY KEY, view TEXT, key TEXT, totals BLOB, last_at INTEGER, counts TEXT, leaving BLOB,
    due_at INTEGER, recent TEXT, UNIQUE (view, key)
);
CREATE INDEX IF NOT EXISTS running_due ON running (view, due_at) WHERE due_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS seen (rating_id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS journal (
    number INTEGER PRIMARY KEY AUTOINCREMENT, rating_id TEXT, user_id TEXT, rental_id TEXT, rating REAL,
    purpose TEXT, event_timestamp INTEGER, arrived_at INTEGER, size REAL
);
CREATE TABLE IF NOT EXISTS consumed (file TEXT PRIMARY KEY, version TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (name TEXT PRIMARY KEY, mark TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, number INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""
"""``running`` is ``running.STATE`` with numbers as bytes, ``due_at`` when the next sum leaves. ``journal``
has the accepted events that are not in the lake yet, ``consumed`` the files that may be removed, ``batches``
those of the lake that the running sums contain."""

ADDED = {"running": ("recent", "TEXT"), "journal": ("size", "REAL")}
"""Columns that a file of an earlier version lacks. Its sums are of another definition and are not read."""

LATEST = 2**63 - 1
"""Larger than every number of the journal."""

JOURNAL_COLUMNS = (*COLUMNS, "arrived_at")


class StreamDatabase:
    """The stream's memory; its caller sees to it that one thread uses it at a time."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        # Files of the inbox go once their events are here: a loss of power must not take these.
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.executescript(SCHEMA)
        for table, (column, kind) in ADDED.items():
            if column not in self._columns(table):
                self._connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")

    def _columns(self, table: str) -> list[str]:
        return [name for _, name, *_ in self._connection.execute(f"PRAGMA table_info({table})")]

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that the block writes, or nothing of it."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # After some errors, such as a full disk, SQLite has rolled back by itself.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def fact(self, name: str, default: Any = None) -> Any:
        """A named number or text."""
        row = self._connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return default if row is None else row[0]

    def note(self, **facts: Any) -> None:
        """Keep named numbers or texts."""
        self._connection.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", facts.items())

    def load(self, view: str, keys: list[str]) -> State:
        """The running sums of those of ``keys`` that have any."""
        rows = self._connection.execute(
            "SELECT key, totals, last_at, counts, recent, leaving FROM running "
            "WHERE view = ? AND key IN (SELECT value FROM json_each(?))",
            (view, json.dumps(keys)),
        ).fetchall()
        if not rows:
            return State()
        names, totals, last_at, counts, recent, leaving = zip(*rows, strict=True)
        width = len(LEAVING) * np.dtype(np.int64).itemsize
        places = np.repeat(np.arange(len(rows)), [len(each) // width for each in leaving])
        sums = np.frombuffer(b"".join(leaving), np.int64).reshape(-1, len(LEAVING))
        return State(
            keys=list(names),
            totals=np.frombuffer(b"".join(totals), np.int64).reshape(-1, WIDTH).copy(),
            last_at=np.array(last_at, np.int64),
            counts=[json.loads(each) for each in counts],
            recent=[json.loads(each) for each in recent],
            leaving=np.column_stack([places, sums]).astype(np.int64),
        )

    def save(self, view: str, state: State) -> None:
        """Replace the running sums of the keys of ``state``."""
        self.save_table(view, state.to_table())

    def save_table(self, view: str, table: pa.Table) -> None:
        """Replace the running sums of some keys by rows of the schema ``running.STATE``."""
        leaving = table["leaving"].combine_chunks()
        ends = np.concatenate([[0], np.cumsum(leaving.value_lengths().to_numpy(zero_copy_only=False))])
        sums = leaving.flatten().to_numpy(zero_copy_only=False)
        totals = table["totals"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        parts = [sums[start:end] for start, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)]
        self._connection.executemany(
            "INSERT OR REPLACE INTO running (view, key, totals, last_at, counts, recent, leaving, due_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            zip(
                [view] * table.num_rows,
                table["key"].to_pylist(),
                [each.tobytes() for each in totals.reshape(-1, WIDTH)],
                table["last_at"].to_pylist(),
                table["counts"].to_pylist(),
                table["recent"].to_pylist(),
                [part.tobytes() for part in parts],
                [int(part[:: len(LEAVING)].min()) if len(part) else None for part in parts],
                strict=True,
            ),
        )

    def due(self, view: str, until: int, limit: int) -> list[str]:
        """Keys of which a sum leaves a window at or before ``until``."""
        rows = self._connection.execute(
            "SELECT key FROM running WHERE view = ? AND due_at <= ? LIMIT ?", (view, until, limit)
        )
        return [key for (key,) in rows]

    def forget(self) -> None:
        """Drop the running sums and what they contain, but neither the journal nor the counts."""
        self.forget_sums()
        self._connection.execute("DELETE FROM seen")
        self._connection.execute("DELETE FROM batches")

    def forget_sums(self) -> None:
        """Drop the running sums."""
        self._connection.execute("DELETE FROM running")

    def seen(self, rating_ids: list[str]) -> set[str]:
        """Which of these ids were accepted before."""
        rows = self._connection.execute(
            "SELECT rating_id FROM seen WHERE rating_id IN (SELECT value FROM json_each(?))",
            (json.dumps(rating_ids),),
        )
        return {rating_id for (rating_id,) in rows}

    def remember(self, rating_ids: Iterable[str]) -> None:
        """Keep ids as accepted."""
        self._connection.executemany(
            "INSERT OR IGNORE INTO seen VALUES (?)", ((each,) for each in rating_ids)
        )

    def enter(self, events: pd.DataFrame) -> None:
        """Put accepted events of ``JOURNAL_COLUMNS`` into the journal."""
        names = ", ".join(JOURNAL_COLUMNS)
        self._connection.executemany(
            f"INSERT INTO journal ({names}) VALUES ({', '.join('?' * len(JOURNAL_COLUMNS))})",  # noqa: S608
            zip(*[events[name].tolist() for name in JOURNAL_COLUMNS], strict=True),
        )

    def journal(self, until: int | None = None) -> pd.DataFrame:
        """The events that are not in the lake, in ``JOURNAL_COLUMNS``, up to the number ``until``."""
        rows = self._connection.execute(
            f"SELECT {', '.join(JOURNAL_COLUMNS)} FROM journal WHERE number <= ? ORDER BY number",  # noqa: S608
            (LATEST if until is None else until,),
        ).fetchall()
        frame = pd.DataFrame(rows, columns=list(JOURNAL_COLUMNS))
        return frame.astype(
            {"rating": float, "size": float, "event_timestamp": "int64", "arrived_at": "int64"}
        )

    def journal_extent(self) -> tuple[int, int, int]:
        """How many events the journal holds, its last number and its first arrival."""
        count, last, first = self._connection.execute(
            "SELECT COUNT(*), MAX(number), MIN(arrived_at) FROM journal"
        ).fetchone()
        return count, last or 0, first or 0

    def strike(self, until: int) -> None:
        """Remove the journal's events up to a number."""
        self._connection.execute("DELETE FROM journal WHERE number <= ?", (until,))

    def strike_ids(self, rating_ids: Iterable[str]) -> None:
        """Remove these events from the journal."""
        self._connection.executemany(
            "DELETE FROM journal WHERE rating_id = ?", ((each,) for each in rating_ids)
        )

    def batches(self) -> dict[str, str]:
        """The lake's batches that the running sums contain, each with its mark."""
        return dict(self._connection.execute("SELECT name, mark FROM batches").fetchall())

    def contain(self, batches: dict[str, str]) -> None:
        """Note batches of the lake as contained in the running sums."""
        self._connection.executemany("INSERT OR REPLACE INTO batches VALUES (?, ?)", batches.items())

    def consume(self, files: Mapping[str, str]) -> None:
        """Note files of the inbox as read, each with its version."""
        self._connection.executemany("INSERT OR REPLACE INTO consumed VALUES (?, ?)", files.items())

    def consumed(self) -> dict[str, str]:
        """Files of the inbox that were read and may still be there, each with the version that was read."""
        return dict(self._connection.execute("SELECT file, version FROM consumed").fetchall())

    def removed(self) -> None:
        """Note that what was consumed is gone."""
        self._connection.execute("DELETE FROM consumed")

    def count(self, **more: int) -> None:
        """Add to named counts."""
        self._connection.executemany(
            "INSERT INTO counts VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET number = number + excluded.number",
            more.items(),
        )

    def counts(self) -> dict[str, int]:
        """The named counts."""
        return dict(self._connection.execute("SELECT name, number FROM counts").fetchall())
