"""What each answer has earned: an index of the lake, so that a restart counts nothing twice.

All of it is in the lake as well, and can be read from there again.
"""

import logging
import sqlite3
import threading
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from serving.feedback import lake

NAME = "rewards.db"

OPEN_DAYS = 2
"""Days to which files may still come: some are written just after the midnight that ends theirs."""

WHOLE_ANSWER = ""
"""Stands for the rental where a reward is for an answer as a whole."""

TABLES = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS files (day TEXT, name TEXT, PRIMARY KEY (day, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answers (request_id TEXT PRIMARY KEY, user_id TEXT, predictor TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rewards
    (request_id TEXT, rental_id TEXT, reward REAL, PRIMARY KEY (request_id, rental_id)) WITHOUT ROWID;
"""

# The largest counts: it is the same in whatever order files are read, and however often one is.
RECORD = """
INSERT INTO rewards VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET reward = max(reward, excluded.reward)
"""

_logger = logging.getLogger(__name__)


class Answer(NamedTuple):
    """An answer that was given: to whom, and by which predictor."""

    user_id: str
    predictor: str


class Total(NamedTuple):
    """What a predictor's answers have earned; both only rise."""

    rentals: int
    """Rewarded rentals, each counted once for an answer."""

    reward: float
    """Sum of their rewards, each the largest that was given."""


class Ledger:
    """The index of one lake; it may be used from several threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._caught_up = False
        folder.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(folder / NAME, check_same_thread=False)
        self._database.executescript(TABLES)

    def answer(self, request_id: str) -> Answer | None:
        """Return the answer with this id, None where the lake had none at the last ``refresh``."""
        with self._lock:
            found = self._database.execute(
                "SELECT user_id, predictor FROM answers WHERE request_id = ?", [request_id]
            ).fetchone()
        return Answer(*found) if found else None

    def record(self, request_id: str, rental_id: str | None, reward: float) -> None:
        """Count a reward, unless as much counts for this rental of the answer already."""
        with self._lock, self._database as transaction:
            transaction.execute(RECORD, [request_id, rental_id or WHOLE_ANSWER, reward])

    def totals(self) -> dict[str, Total]:
        """Return what was earned by the answers of each predictor, as of the last ``refresh``."""
        with self._lock:
            rows = self._database.execute(
                "SELECT predictor, COUNT(*), SUM(reward) FROM rewards JOIN answers USING (request_id) "
                "GROUP BY predictor ORDER BY predictor"
            ).fetchall()
        return {predictor: Total(rentals, reward) for predictor, rentals, reward in rows}

    def refresh(self) -> None:
        """Read the files that have come to the lake."""
        with self._lock:
            for table in (lake.PREDICTIONS, lake.FEEDBACK):
                days = lake.days(self._folder, table)
                # At first all, for what came while nothing ran.
                for day in days[-OPEN_DAYS:] if self._caught_up else days:
                    self._read_day(day, table)
            self._caught_up = True

    def _read_day(self, day: Path, table: str) -> None:
        label = f"{table}/{day.name}"
        found = self._database.execute("SELECT name FROM files WHERE day = ?", [label])
        known = {name for (name,) in found}
        # A file's commit would take longer than its rows.
        with self._database:
            for path in lake.files(day):
                if path.name not in known and self._read_file(path, table):
                    self._database.execute("INSERT INTO files VALUES (?, ?)", [label, path.name])

    def _read_file(self, path: Path, table: str) -> bool:
        """Whether it is done with: a damaged file is, one that cannot be read at the moment is not."""
        try:
            rows = lake.read(path, table)
        except pa.ArrowException as error:
            _logger.error("%s is left out, it is damaged: %s", path, error)
            return True
        except OSError as error:
            _logger.error("%s is read later, it cannot be now: %s", path, error)
            return False
        if table == lake.PREDICTIONS:
            self._database.executemany(
                "INSERT OR REPLACE INTO answers VALUES (:request_id, :user_id, :predictor)",
                [row for row in rows if row["ok"]],
            )
        else:
            self._database.executemany(
                RECORD,
                [
                    (row["request_id"], row["rental_id"] or WHOLE_ANSWER, lake.reward_of(row["rating"]))
                    for row in rows
                ],
            )
        return True
