"""Packed features in SQLite: a table per view; readers never wait, writers wait for each other briefly."""

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Literal

from feast import RepoConfig
from typing_extensions import override

from feature_repo.packed.codec import STAMP_BYTES
from feature_repo.packed.database import PackedConfig
from feature_repo.packed.store import PackedOnlineStore

ROWS_IN_TRANSACTION = 2_000
"""Rows of one transaction: some 10 ms, for which other writers wait."""

KEYS_IN_SELECT = 500
"""Keys of one prepared SELECT; larger requests take several within one transaction."""

LOCK_SECONDS = 5.0
"""How long SQLite itself waits for another writer before the write is tried anew."""


class PackedSqliteOnlineStoreConfig(PackedConfig):
    """Packed features in an SQLite file."""

    type: Literal["feature_repo.packed.sqlite.PackedSqliteOnlineStore"] = (
        "feature_repo.packed.sqlite.PackedSqliteOnlineStore"
    )
    """Class of the store."""

    path: str = "data/online.db"
    """The file; a relative one is below the repository."""


class PackedSqliteOnlineStore(PackedOnlineStore):
    """An SQLite file in write-ahead mode, one connection per thread."""

    def __init__(self) -> None:
        super().__init__()
        self._threads = threading.local()

    @override
    def place(self, config: RepoConfig) -> str:
        path = Path(config.online_store.path)
        return str(path if path.is_absolute() or not config.repo_path else config.repo_path / path)

    @override
    def passes(self, error: Exception) -> bool:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

    def _connection(self, config: RepoConfig) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._threads, "connection", None)
        if connection is None:
            file = Path(self.place(config))
            file.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(
                file, timeout=LOCK_SECONDS, isolation_level=None, cached_statements=512
            )
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            self._threads.connection = connection
        return connection

    @contextmanager
    def _transaction(self, config: RepoConfig, begin: str) -> Iterator[sqlite3.Connection]:
        connection = self._connection(config)
        connection.execute(begin)
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            # After some errors SQLite has rolled back by itself: another ROLLBACK would hide the cause.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    @override
    def read(self, config: RepoConfig, view: str, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        connection = self._connection(config)
        try:
            if len(keys) <= KEYS_IN_SELECT:
                found: tuple[bytes | None, ...] = connection.execute(
                    _select(view, len(keys)), keys
                ).fetchone()
                return found
            values: list[bytes | None] = []
            with self._transaction(config, "BEGIN"):
                for start in range(0, len(keys), KEYS_IN_SELECT):
                    some = keys[start : start + KEYS_IN_SELECT]
                    values += connection.execute(_select(view, len(some)), some).fetchone()
            return values
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):
                raise
            return [None] * len(keys)

    @override
    def write(self, config: RepoConfig, view: str, values: Mapping[bytes, bytes]) -> int:
        connection = self._connection(config)
        before = connection.total_changes
        rows = sorted(values.items())
        for start in range(0, len(rows), ROWS_IN_TRANSACTION):
            with self._transaction(config, "BEGIN IMMEDIATE"):
                connection.execute(_create(view))
                connection.executemany(_upsert(view), rows[start : start + ROWS_IN_TRANSACTION])
        return connection.total_changes - before

    @override
    def swap(self, config: RepoConfig, view: str, key: bytes, old: bytes | None, new: bytes) -> bool:
        with self._transaction(config, "BEGIN IMMEDIATE") as connection:
            connection.execute(_create(view))
            if old is None:
                done = connection.execute(_insert(view) + " ON CONFLICT DO NOTHING", (key, new))
            else:
                update = f"UPDATE {_quoted(view)} SET value = ? WHERE key = ? AND value = ?"  # noqa: S608
                done = connection.execute(update, (new, key, old))
        return done.rowcount == 1

    @override
    def drop(self, config: RepoConfig, views: Sequence[str]) -> None:
        with self._transaction(config, "BEGIN IMMEDIATE") as connection:
            for view in views:
                connection.execute(f"DROP TABLE IF EXISTS {_quoted(view)}")


def _quoted(view: str) -> str:
    return '"' + view.replace('"', '""') + '"'


def _create(view: str) -> str:
    columns = "(key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"
    return f"CREATE TABLE IF NOT EXISTS {_quoted(view)} {columns}"


@lru_cache(maxsize=2048)
def _select(view: str, keys: int) -> str:
    """A value per key, in order: faster than ``IN``, after which they would have to be put in order."""
    return "SELECT " + ", ".join([f"(SELECT value FROM {_quoted(view)} WHERE key = ?)"] * keys)  # noqa: S608


def _insert(view: str) -> str:
    return f"INSERT INTO {_quoted(view)} AS t VALUES (?, ?)"  # noqa: S608


def _upsert(view: str) -> str:
    stamp = f"substr(%s.value, 1, {STAMP_BYTES})"
    return (
        f"{_insert(view)} ON CONFLICT (key) DO UPDATE SET value = excluded.value "
        f"WHERE {stamp % 'excluded'} >= {stamp % 't'} AND excluded.value <> t.value"
    )
