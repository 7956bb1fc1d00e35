"""Parquet files of a log that several processes append to and others poll.

A file is named by the time of its newest row, so that a reader leaves older files closed, and is never
changed once it has that name, so that a reader keeps what it has read.
"""

import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

FILES_KEPT_READ = 4096
"""Files whose rows a polling reader keeps: a canary's quarter of an hour at four files a second."""

_NAME_TIME = "%Y%m%dT%H%M%S.%f"


class LogFileError(RuntimeError):
    """A file of the log cannot be read."""


def append(rows: list[dict[str, Any]], schema: pa.Schema, folder: Path) -> None:
    """Write ``rows``, each with an aware ``timestamp``, as one new file in a folder of its day."""
    table = pa.Table.from_pylist(rows, schema=schema)
    newest = max(row["timestamp"] for row in rows).astimezone(UTC)
    day = folder / f"{newest:%Y-%m-%d}"
    day.mkdir(parents=True, exist_ok=True)
    name = f"{newest.strftime(_NAME_TIME)}-{os.getpid()}-{uuid.uuid4().hex[:8]}.parquet"
    temporary = day / f".{name}"
    pq.write_table(table, temporary)
    temporary.replace(day / name)


def read(schema: pa.Schema, folder: Path, since: datetime | None) -> pa.Table:
    """Return all rows at or after ``since``, oldest first; no rows where nothing was written yet.

    Columns which ``schema`` has gained since a file was written are null in its rows.

    Raises:
        ValueError: ``since`` has no time zone.
        LogFileError: a file is damaged.
    """
    if since is not None and since.tzinfo is None:
        raise ValueError("'since' has no time zone; pass datetime.now(UTC) or another aware time")
    tables = [_read_file(path) for path in files(folder, since)]
    table = pa.concat_tables([schema.empty_table(), *tables], promote_options="default")
    if since is not None:
        table = table.filter(pc.field("timestamp") >= pa.scalar(since, schema.field("timestamp").type))
    return table.sort_by("timestamp")


def files(folder: Path, since: datetime | None) -> Iterator[Path]:
    """Return the files that may hold rows at or after ``since`` (aware), oldest first."""
    first = since.astimezone(UTC) if since else None
    for day in sorted(folder.glob("????-??-??")):
        if first and day.name < f"{first:%Y-%m-%d}":
            continue
        for path in sorted(day.glob("[0-9]*.parquet")):
            if first is None or path.name >= first.strftime(_NAME_TIME):
                yield path


@lru_cache(maxsize=FILES_KEPT_READ)
def _read_file(path: Path) -> pa.Table:
    try:
        return pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise LogFileError(
            f"{path} is damaged ({error}); move it away to read the rest of the log"
        ) from error
