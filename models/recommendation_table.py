"""The SQL table ``recommendation``, which apps read: one whole set of recommendations at any time.

It is a view of the set to which one row points. A set is written beside the one that is read, a block of
users in a transaction; then the pointer moves, in a transaction of that row alone. A statement sees the old
set or the new one, because every database here gives a statement one snapshot. To replace millions of rows in
one transaction would do the same, but hold locks and undo logs for minutes, and start anew after a failure.
"""

from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.sql.ddl import CreateView

POINTER = 1
"""Key of the only row of the pointer."""

BUSY_SECONDS = 60
"""How long a writer waits for another one of SQLite, which takes one at a time."""

LOST = "another set was published meanwhile, and took this one's place: run the precomputation again"

DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}
"""The installed driver of each kind of database, for addresses that name none."""

# MySQL compares text without regard to case, unless it is told: "a1" and "A1" are two users.
_TEXT = sa.String(255).with_variant(mysql.VARCHAR(255, collation="utf8mb4_bin"), "mysql", "mariadb")
_METADATA = sa.MetaData()

SETS = sa.Table(
    "recommendation_set",
    _METADATA,
    sa.Column("set_id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("content", sa.String(64), nullable=False, unique=True),
    sa.Column("model_version", _TEXT, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("blocks", sa.Integer, nullable=False),
    # A number is never given twice: who still writes an old set must not meet a new one under it.
    sqlite_autoincrement=True,
)
"""The sets; ``content`` is a hash of all that a set is computed from."""

BLOCKS = sa.Table(
    "recommendation_block",
    _METADATA,
    sa.Column("set_id", sa.ForeignKey(SETS.c.set_id, ondelete="CASCADE"), primary_key=True),
    sa.Column("block", sa.Integer, primary_key=True, autoincrement=False),
)
"""The blocks that are written whole."""

ROWS = sa.Table(
    "recommendation_row",
    _METADATA,
    sa.Column("set_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("user_id", _TEXT, primary_key=True),
    sa.Column("rank", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("rental_id", _TEXT, nullable=False),
    sa.Column("prediction", sa.Float, nullable=False),
    sqlite_with_rowid=False,
)
"""The recommendations of all sets, in order of their use: a user's rows lie together."""

ROW_COLUMNS = ("user_id", "rental_id", "prediction", "rank")
"""Columns of what a block's function gives."""

CURRENT = sa.Table(
    "recommendation_current",
    _METADATA,
    sa.Column("pointer", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("set_id", sa.ForeignKey(SETS.c.set_id), nullable=False),
)
"""One row: the set that is read."""

RECOMMENDATION = CreateView(
    sa.select(
        ROWS.c.user_id,
        ROWS.c.rental_id,
        ROWS.c.prediction,
        ROWS.c.rank,
        SETS.c.model_version,
        SETS.c.created_at,
    ).select_from(
        CURRENT.join(SETS, SETS.c.set_id == CURRENT.c.set_id).join(ROWS, ROWS.c.set_id == SETS.c.set_id)
    ),
    "recommendation",
    metadata=_METADATA,
).table
"""What apps read: ``SELECT * FROM recommendation WHERE user_id = … ORDER BY rank``."""


class RecommendationTableError(RuntimeError):
    """The table cannot be written; the message names the remedy."""


class RecommendationTable:
    """Sets of recommendations in a database; each of the writing methods is one transaction."""

    def __init__(self, url: str) -> None:
        """Connect at the first use to ``sqlite:///FILE``, ``postgresql://…`` or ``mysql://…``."""
        self._url = url

    def __getstate__(self) -> str:
        """The address alone: connections stay in their process."""
        return self._url

    def __setstate__(self, url: str) -> None:
        """See ``__getstate__``."""
        self._url = url

    def begin(self, content: str, model_version: str, blocks: int) -> int:
        """Return the number of the set which is computed from ``content``; a new one if there is none.

        Args:
            content: a hash of all that the set is computed from, at most 64 characters.
            model_version: version of the model.
            blocks: how many blocks make it whole.
        """
        _METADATA.create_all(self._engine)
        asked = sa.select(SETS.c.set_id).where(SETS.c.content == content)
        new = {"content": content, "model_version": model_version, "blocks": blocks}
        try:
            with self._engine.begin() as connection:
                connection.execute(sa.insert(SETS), new | {"created_at": datetime.now(UTC)})
        except sa.exc.IntegrityError:
            pass  # It was begun before, or is just being begun by another process.
        with self._engine.connect() as connection:
            return int(connection.execute(asked).scalar_one())

    def missing(self, set_id: int) -> list[int]:
        """The blocks of a set that are not written yet, in order.

        Raises:
            RecommendationTableError: the set is gone.
        """
        with self._engine.connect() as connection:
            blocks = self._blocks(connection, set_id)
            written = connection.execute(sa.select(BLOCKS.c.block).where(BLOCKS.c.set_id == set_id))
            return sorted(set(range(blocks)) - set(written.scalars()))

    def write(self, set_id: int, block: int, rows: pd.DataFrame) -> None:
        """Write one block; nothing where it is there already.

        Args:
            set_id: number of the set.
            block: number of the block, from 0.
            rows: ``user_id``, ``rental_id``, ``prediction``, ``rank``; all rows of the block's users.

        Raises:
            RecommendationTableError: the set is gone.
        """
        columns = {"set_id": [set_id] * len(rows)} | {name: rows[name].tolist() for name in ROW_COLUMNS}
        records = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        try:
            with self._engine.begin() as connection:
                # First, so that it locks the set and the block.
                connection.execute(sa.insert(BLOCKS), {"set_id": set_id, "block": block})
                if records:
                    connection.execute(sa.insert(ROWS), records)
        except sa.exc.IntegrityError:
            if block in self.missing(set_id):
                raise

    def publish(self, set_id: int) -> None:
        """Let the readers see a set that is whole, and remove those before it.

        Raises:
            RecommendationTableError: blocks are missing, or the set is gone.
        """
        if missing := self.missing(set_id):
            raise RecommendationTableError(
                f"{len(missing)} blocks of set {set_id} are not written: run the precomputation again, which "
                "goes on with them"
            )
        with self._engine.begin() as connection:
            moved = connection.execute(sa.update(CURRENT).values(set_id=set_id))
            if not moved.rowcount:
                connection.execute(sa.insert(CURRENT), {"pointer": POINTER, "set_id": set_id})
        with self._engine.begin() as connection:
            # Sets that were begun later are another's, who still writes them.
            connection.execute(sa.delete(SETS).where(SETS.c.set_id < set_id))
            connection.execute(sa.delete(ROWS).where(ROWS.c.set_id < set_id))

    def of_user(self, user_id: str) -> pd.DataFrame:
        """A user's rows of ``recommendation``, best first."""
        asked = sa.select(RECOMMENDATION).where(RECOMMENDATION.c.user_id == user_id)
        with self._engine.connect() as connection:
            return pd.read_sql(asked.order_by(RECOMMENDATION.c.rank), connection)

    def _blocks(self, connection: sa.Connection, set_id: int) -> int:
        blocks = connection.execute(sa.select(SETS.c.blocks).where(SETS.c.set_id == set_id)).scalar()
        if blocks is None:
            raise RecommendationTableError(LOST)
        return int(blocks)

    @cached_property
    def _engine(self) -> sa.Engine:
        url = sa.make_url(self._url)
        url = url.set(drivername=DRIVERS.get(url.drivername, url.drivername))
        if url.get_backend_name() != "sqlite":
            return sa.create_engine(url, pool_pre_ping=True)
        if url.database:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS})

        @sa.event.listens_for(engine, "connect")
        def prepare(connection: object, _: object) -> None:
            cursor = connection.cursor()  # type: ignore[attr-defined]
            # Readers and the writer do not wait for each other, and a block needs its set.
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA foreign_keys = ON")
            cursor.close()

        return engine
