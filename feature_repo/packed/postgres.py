"""Packed features in PostgreSQL: a table per view, filled by COPY and one statement that compares times."""

import hashlib
import threading
from collections.abc import Mapping, Sequence
from typing import Literal

import psycopg
from feast import RepoConfig
from psycopg import errors, sql
from typing_extensions import override

from feature_repo.packed.codec import STAMP_BYTES
from feature_repo.packed.database import PackedConfig
from feature_repo.packed.store import PackedOnlineStore

NAME_BYTES = 63
"""PostgreSQL cuts longer names, so that two views could become one."""

CONNECT_SECONDS = 5
"""A server that does not answer for so long is taken as away."""


class PackedPostgresOnlineStoreConfig(PackedConfig):
    """Packed features in PostgreSQL."""

    type: Literal["feature_repo.packed.postgres.PackedPostgresOnlineStore"] = (
        "feature_repo.packed.postgres.PackedPostgresOnlineStore"
    )
    """Class of the store."""

    url: str = "postgresql://127.0.0.1:5432/postgres"
    """Where PostgreSQL is, as libpq reads it."""


class PackedPostgresOnlineStore(PackedOnlineStore):
    """A PostgreSQL database, one connection per thread."""

    def __init__(self) -> None:
        super().__init__()
        self._threads = threading.local()

    @override
    def place(self, config: RepoConfig) -> str:
        known = psycopg.conninfo.conninfo_to_dict(config.online_store.url)
        return f"postgresql://{known.get('host', '')}:{known.get('port', 5432)}/{known.get('dbname', '')}"

    @override
    def passes(self, error: Exception) -> bool:
        # A lost or refused connection is an OperationalError, and so is a deadlock: nothing was written.
        # Two writers may create a view's table, and with it the type of its rows, at the same moment.
        return isinstance(
            error,
            psycopg.OperationalError
            | errors.UniqueViolation
            | errors.DuplicateTable
            | errors.DuplicateObject
            | errors.UndefinedTable,
        )

    def _connection(self, config: RepoConfig) -> "psycopg.Connection[tuple[bytes, bytes]]":
        connection = getattr(self._threads, "connection", None)
        if connection is None or connection.closed:
            connection = psycopg.connect(
                config.online_store.url, autocommit=True, connect_timeout=CONNECT_SECONDS
            )
            self._threads.connection = connection
        return connection

    @override
    def read(self, config: RepoConfig, view: str, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        query = sql.SQL("SELECT key, value FROM {} WHERE key = ANY(%s)").format(_table(view))
        connection = self._connection(config)
        try:
            try:
                found = dict(connection.execute(query, [list(keys)], binary=True).fetchall())
            except psycopg.OperationalError:
                # The server may have restarted since the last request: once more, on a new connection.
                if not connection.closed:
                    raise
                found = dict(self._connection(config).execute(query, [list(keys)], binary=True).fetchall())
        except errors.UndefinedTable:
            return [None] * len(keys)
        return [found.get(key) for key in keys]

    @override
    def write(self, config: RepoConfig, view: str, values: Mapping[bytes, bytes]) -> int:
        connection = self._connection(config)
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute(_create(view))
            cursor.execute(
                "CREATE TEMPORARY TABLE IF NOT EXISTS incoming (key bytea, value bytea) ON COMMIT DELETE ROWS"
            )
            with cursor.copy("COPY incoming FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(["bytea", "bytea"])
                for row in values.items():
                    copy.write_row(row)
            # In order of keys, so that two writers never wait for each other in a circle.
            cursor.execute(
                sql.SQL(
                    "INSERT INTO {} AS t SELECT key, value FROM incoming ORDER BY key "
                    "ON CONFLICT (key) DO UPDATE SET value = excluded.value "
                    "WHERE substr(excluded.value, 1, {stamp}) >= substr(t.value, 1, {stamp}) "
                    "AND excluded.value <> t.value"
                ).format(_table(view), stamp=sql.Literal(STAMP_BYTES))
            )
            return cursor.rowcount

    @override
    def swap(self, config: RepoConfig, view: str, key: bytes, old: bytes | None, new: bytes) -> bool:
        connection = self._connection(config)
        with connection.transaction():
            connection.execute(_create(view))
            if old is None:
                insert = sql.SQL("INSERT INTO {} VALUES (%s, %s) ON CONFLICT DO NOTHING").format(_table(view))
                return connection.execute(insert, [key, new]).rowcount == 1
            change = sql.SQL("UPDATE {} SET value = %s WHERE key = %s AND value = %s").format(_table(view))
            return connection.execute(change, [new, key, old]).rowcount == 1

    @override
    def drop(self, config: RepoConfig, views: Sequence[str]) -> None:
        for view in views:
            self._connection(config).execute(sql.SQL("DROP TABLE IF EXISTS {}").format(_table(view)))


def _table(view: str) -> sql.Identifier:
    if len(view.encode()) > NAME_BYTES:
        view = view[:20] + hashlib.blake2b(view.encode(), digest_size=16).hexdigest()
    return sql.Identifier(view)


def _create(view: str) -> sql.Composed:
    return sql.SQL("CREATE TABLE IF NOT EXISTS {} (key bytea PRIMARY KEY, value bytea NOT NULL)").format(
        _table(view)
    )
