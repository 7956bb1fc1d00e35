"""The database that rollouts share: what they decided, what people ask of them, and which one may act.

SQLite below the home, or PostgreSQL, where rollouts may run on several machines.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from serving.processes import is_locked

CONNECT_SECONDS = 5
"""A server that does not answer for so long is taken as away."""

KEEPALIVE_SECONDS = 30
"""A rollout waits for hours by one connection, and networks forget a silent one after minutes."""

_METADATA = sa.MetaData()

DECISIONS = sa.Table(
    "decisions",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("champion", sa.Text, nullable=False),
    sa.Column("canary", sa.Text, nullable=False),
    sa.Column("share", sa.Integer, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    # JSON as text, because PostgreSQL's own type takes no NaN.
    sa.Column("reasons", sa.Text, nullable=False),
    sa.Column("figures", sa.Text, nullable=False),
)

REQUEST = sa.Table(
    "rollback_request",
    _METADATA,
    sa.Column("predictor", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
)
"""What a person asks of the running rollout: one row, or none."""

_TAKE = sa.text("SELECT pg_try_advisory_lock(CAST(CAST('decisions' AS regclass) AS bigint))")
"""The lock in PostgreSQL has the number of the table, which no other one of the database has."""

_LOOK = sa.text(
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND classid = 0 AND objid = CAST('decisions' AS regclass)"
)
"""Whether somebody has it: PostgreSQL shows a number of 64 bits in two halves, and a table's has 32."""


class RolloutDatabaseError(RuntimeError):
    """The database does not answer, or is damaged; the message names the remedy."""


class RolloutDatabase:
    """Two tables and a lock."""

    def __init__(self, url: str) -> None:
        """Open ``sqlite:///FILE`` or ``postgresql://…``, and make what is missing there.

        Raises:
            RolloutDatabaseError: it does not answer, or is damaged.
        """
        self._url = sa.make_url(url)
        self._holder: sa.Connection | None = None
        options = {"connect_timeout": CONNECT_SECONDS, "keepalives_idle": KEEPALIVE_SECONDS}
        # A connection for each transaction: objects of this class are made for a single question.
        self._engine = sa.create_engine(
            self._url, poolclass=sa.NullPool, connect_args={} if self._file else options
        )
        if self._file:
            self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._told():
            try:
                _METADATA.create_all(self._engine)
            except sa.exc.DBAPIError:
                # Another process may have just made the same.
                _METADATA.create_all(self._engine)

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Give a connection; what it has written is on disk when the block ends.

        Raises:
            RolloutDatabaseError: the database does not answer, or is damaged.
        """
        with self._told():
            if self._holder:
                if self._holder.invalidated:
                    # SQLAlchemy would take a new connection, which has no lock.
                    raise RolloutDatabaseError("the connection that held the lock of rollouts was lost")
                with self._holder.begin():
                    yield self._holder
            else:
                with self._engine.begin() as connection:
                    yield connection

    @contextmanager
    def hold(self) -> Iterator[bool]:
        """Take the lock, and say whether that was possible; it is free when the block, or the process, ends.

        PostgreSQL has it for as long as the connection by which this object then writes: who loses the one
        cannot write a decision any more, and so does not act.

        Raises:
            RolloutDatabaseError: the database does not answer.
        """
        if self._file:
            with self._lock.open("w") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    yield False
                else:
                    yield True
            return
        with self._told():
            self._holder = self._engine.connect()
        with self._holder:
            try:
                with self.transaction() as connection:
                    taken = connection.scalar(_TAKE)
                yield bool(taken)
            finally:
                self._holder = None

    def is_held(self) -> bool:
        """Whether a process has the lock; looking takes none, which would be in others' way."""
        if self._file:
            return is_locked(self._lock)
        with self.transaction() as connection:
            return bool(connection.scalar(_LOOK))

    @property
    def _file(self) -> Path | None:
        return Path(self._url.database or "") if self._url.get_backend_name() == "sqlite" else None

    @property
    def _lock(self) -> Path:
        return Path(self._url.database or "").with_name("rollout.lock")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DBAPIError as error:
            said = " ".join(str(error.orig).split())
            where, remedy = f"{self._file}", "restore it, or move it away"
            if not self._file:
                where = f"{self._url.host or ''}/{self._url.database}"
                remedy = "start it, let its user create tables, or correct RENTALS_DECISIONS_URL"
            raise RolloutDatabaseError(
                f"the decisions of rollouts at {where} cannot be read or written ({said}): {remedy}"
            ) from error
