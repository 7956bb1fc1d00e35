"""What of a home belongs to a backup: everything but what its parts write again by themselves."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from flows.backup import BackupError

LEFT_OUT = frozenset(
    {
        # Of processes that run, and of Prometheus, which has its own snapshots.
        *("logs", "prometheus", "run", "tmp"),
        # Rendered again by the command that wrote it.
        *("argo", "manifests", "metaflow/cache"),
        # Homes and data sets of benchmarks; what was set aside.
        *("archive", "bench", "fuzz"),
        # How far Spark has read: beside an older memory of the stream, events would be skipped. Without it
        # all is read again, and what is known is dropped.
        "stream/checkpoint",
    }
)
"""Folders that no backup holds. Whatever is not named here is in it."""

DECISIONS = Path("run", "decisions.db")
"""The one file of the runtime's folder that cannot be had again: what the rollouts decided."""

METAFLOW = ".metaflow"
"""Metaflow's folder. Any other name with a dot in front is a lock, or of a file not written whole yet."""

OF_SQLITE = ("-journal", "-shm", "-wal")
"""Ends of the names of files that SQLite keeps beside an open database; a copy of it contains them."""

HEADER = b"SQLite format 3\0"


def files(home: Path) -> Iterator[Path]:
    """Give the files of ``home`` that a backup holds, relative to it; links to other disks are followed.

    Raises:
        BackupError: a folder cannot be read.
    """
    for folder, folders, names in os.walk(home, onerror=_refuse, followlinks=True):
        here = Path(folder).relative_to(home)
        folders[:] = [name for name in folders if _is_kept(here / name)]
        for name in names:
            if _is_kept(here / name) and not _is_of_sqlite(Path(folder), name):
                yield here / name
    if (home / DECISIONS).is_file():
        yield DECISIONS


def entries(home: Path) -> list[Path]:
    """Return what is to be moved, with all that lies in it, to exchange what a backup holds of ``home``."""
    folder = home / DECISIONS.parent
    decisions = sorted(folder.glob(f"{DECISIONS.name}*"))
    return [*(path for path in sorted(home.iterdir()) if _is_kept(path.relative_to(home))), *decisions]


def is_database(path: Path) -> bool:
    """Whether a file is an SQLite database, whatever its name."""
    with path.open("rb") as file:
        return file.read(len(HEADER)) == HEADER


def _is_kept(name: Path) -> bool:
    return name.as_posix() not in LEFT_OUT and (not name.name.startswith(".") or name.name == METAFLOW)


def _is_of_sqlite(folder: Path, name: str) -> bool:
    return any(name.endswith(end) and (folder / name.removesuffix(end)).is_file() for end in OF_SQLITE)


def _refuse(error: OSError) -> NoReturn:
    raise BackupError(
        f"cannot read {error.filename} ({error.strerror}): let this user read the home"
    ) from error
