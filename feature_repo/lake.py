"""The lake: parquet tables of batches, each written whole or not at all."""

import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo import durable
from feature_repo.schema import KEYS, TABLES, TIMES, conform

MINIMUM_FREE_BYTES = 1_000_000_000
"""Room that a run on 200 thousand ratings needs at most; below it a run would stop half-way."""

HALF_RESTORED = ".half-restored"
"""File in a home while a backup takes its place; left behind by a kill."""


class LakeError(RuntimeError):
    """The lake cannot take or give what was asked; the message names the remedy."""


def check_room(home: Path) -> None:
    """Raise ``LakeError`` if ``home`` is half restored, cannot be written to, or its disk is nearly full."""
    if (home / HALF_RESTORED).exists():
        raise LakeError(f"{home} is half restored from a backup: run `make restore` again")
    try:
        home.mkdir(parents=True, exist_ok=True)
        probe = home / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise LakeError(
            f"cannot write to {home} ({error.strerror}): set RENTALS_HOME to a folder of yours"
        ) from error
    free = shutil.disk_usage(home).free
    if free < MINIMUM_FREE_BYTES:
        raise LakeError(
            f"only {free / 1e9:.2f} GB are free at {home}, {MINIMUM_FREE_BYTES / 1e9:.0f} GB are needed: "
            "free some space or set RENTALS_HOME to another disk"
        )


def claim(lake: Path, dataset: str) -> None:
    """Mark the lake as holding ``dataset``; one lake holds one marketplace.

    Raises:
        LakeError: it holds another dataset.
    """
    holds = dataset_of(lake)
    if holds not in ("", dataset):
        raise LakeError(
            f"the lake at {lake} holds {holds!r}, not {dataset!r}: set RENTALS_HOME to another folder, "
            "or run `make clean` first"
        )
    if not holds:
        with durable.writing(lake / "DATASET") as file:
            file.write(dataset.encode())


def dataset_of(lake: Path) -> str:
    """Name of the dataset in the lake, empty if there is none yet."""
    mark = lake / "DATASET"
    return mark.read_text().strip() if mark.is_file() else ""


def append(lake: Path, table: str, batch: str, frame: pd.DataFrame) -> int:
    """Write ``frame`` as one batch of ``table``; the same batch again replaces itself.

    Rows whose key another batch already holds, or an earlier row of ``frame``, are left out, so that a source
    which repeats itself or is read in overlapping periods counts nothing twice.

    Returns:
        How many rows the batch holds.
    """
    key = KEYS[table]
    with exclusive(lake / table, wait=True):
        others = [path for path in (lake / table).glob("*.parquet") if path.stem != batch]
        known = {value for path in others for value in pq.read_table(path, columns=[key])[key].to_pylist()}
        rows = conform(frame[~frame[key].isin(known)].drop_duplicates(key), table)
        land(lake, table, batch, rows)
    return rows.num_rows


def land(lake: Path, table: str, batch: str, rows: pa.Table) -> Path:
    """Write ``rows`` (from ``schema.conform``) as one batch of ``table``; the same batch replaces itself.

    Their keys are not looked up: the caller knows that no other batch has them, and sees by ``exclusive``
    that none lands meanwhile. When this returns, the file survives a loss of power.
    """
    target = lake / table / f"{batch}.parquet"
    with durable.writing(target) as file:
        pq.write_table(rows.cast(TABLES[table]), file)
    return target


def read(lake: Path, table: str, until: pd.Timestamp | None = None) -> pd.DataFrame:
    """Return all rows of ``table``; with ``until`` those known before it: all their ``TIMES`` are earlier.

    Raises:
        LakeError: the table is not there yet.
    """
    paths = _batches(lake, table)
    frame = pa.concat_tables([pq.read_table(path, schema=TABLES[table]) for path in paths]).to_pandas()
    if table == "ratings":
        # Batches of before ratings had an arrival lack the column, which then reads as null.
        frame["arrived_at"] = frame["arrived_at"].fillna(frame["event_timestamp"])
    if until is not None:
        frame = frame[(frame[list(TIMES[table])] < until).all(axis=1)]
    return frame.reset_index(drop=True)


def _batches(lake: Path, table: str) -> list[Path]:
    paths = sorted((lake / table).glob("*.parquet"))
    if not paths:
        raise LakeError(
            f"the lake at {lake} has no table {table!r} yet: run `make features` (or `make demo`)"
        )
    return paths


def _arrivals(path: Path) -> "pd.Series[pd.Timestamp]":
    """When the ratings of a batch arrived; one of before that was recorded has the times of its events."""
    columns = list(TIMES["ratings"])
    times = pq.read_table(path, schema=TABLES["ratings"], columns=columns).to_pandas()
    return times["arrived_at"].fillna(times["event_timestamp"])


def clock(lake: Path) -> pd.Timestamp:
    """The time as far as the data knows it: the first midnight (UTC) after the last arrival, or now."""
    last = pd.concat([_arrivals(path) for path in _batches(lake, "ratings")]).max()
    midnight = last.floor("D") + pd.Timedelta(days=1)
    return min(midnight, pd.Timestamp.now("UTC").as_unit("us"))


def snapshot_hash(*tables: pd.DataFrame) -> str:
    """A hash of the tables' content which does not depend on the order of their rows."""
    content = hashlib.sha256()
    for table in tables:
        content.update(pd.util.hash_pandas_object(table, index=False).sort_values().to_numpy().tobytes())
    return content.hexdigest()


@contextmanager
def exclusive(target: Path, wait: bool = False) -> Iterator[None]:
    """Let no other process, nor another part of this one, write ``target`` meanwhile.

    Raises:
        LakeError: another one is writing it, and ``wait`` is not set.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with lock_of(target).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise LakeError(f"another run is writing {target}: wait until it has ended") from error
        yield


def lock_of(target: Path) -> Path:
    """File that ``exclusive`` locks for ``target``."""
    return target.with_name(f".{target.name}.lock")


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``target`` which takes its place when the block ends without error.

    Until then, and after any failure, ``target`` is what it was.

    Raises:
        LakeError: another process is replacing the same folder.
    """
    temporary = target.with_name(f".{target.name}.new")
    old = target.with_name(f".{target.name}.old")
    with exclusive(target):
        if old.exists() and not target.exists():
            # A run was killed between the two renames below.
            old.rename(target)
        for left in (temporary, old):
            shutil.rmtree(left, ignore_errors=True)
        try:
            yield temporary
            if target.exists():
                target.rename(old)
            try:
                temporary.rename(target)
            except BaseException:
                if old.exists():
                    old.rename(target)
                raise
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
