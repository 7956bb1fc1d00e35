"""Making a backup of a home in use.

It is taken in an order in which no part names what the backup lacks: first what is written last. Events wait
in the inbox until the stream's database has them, and there until the lake has them; versions are registered
when their files are written. So what is restored is what a crash would have left, which each part survives.
Databases are copied by SQLite itself, as of one moment; all other files appear whole and are never changed.
"""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path

from feature_repo import lake
from flows.backup import BackupError
from flows.backup.contents import files, is_database
from flows.backup.folder import FORMAT, HOME, About, copy, names_below, seal
from flows.commit import git_commit

BEFORE_DATABASES = ("feast/registry.db", "stream/inbox/")
"""What is taken before the databases: it names what must be in them, or goes once they have it."""

FROZEN = ".backup"
"""Folder of the home as of the backup, while that is copied."""

BUSY_SECONDS = 60
"""How long the copy of a database waits for who is writing it."""


def make(home: Path, to: Path) -> Path:
    """Write a backup of ``home`` as a new folder in ``to``, and return it; a killed one leaves none.

    Features are not computed while their files are taken, which are linked and not copied for that time.

    Raises:
        BackupError: there is nothing to back up, a database is damaged, or ``to`` cannot take it.
    """
    if to.resolve().is_relative_to(home.resolve()):
        raise BackupError(f"{to} lies in the home itself, and would be lost with it: name another disk")
    if not home.is_dir() or next(files(home), None) is None:
        raise BackupError(f"{home} holds nothing yet: set RENTALS_HOME to the home to back up")
    about = About(FORMAT, str(home.resolve()), f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", git_commit())
    folder = to / f"rentals-{about.made_at.translate({ord(sign): '' for sign in '-:'})}"
    partial = to / f".{folder.name}.partial"
    try:
        partial.mkdir(parents=True, mode=0o700)
        with _frozen(home) as frozen:
            names = sorted(names_below(frozen))
            _check_room(sum((frozen / name).stat().st_size for name in names), to)
            sums = {f"{HOME}/{name}": copy(frozen / name, partial / HOME / name) for name in names}
        seal(partial, about, sums)
        # Once for all: to wait for the disk with each of a long log's files would take minutes.
        os.sync()
        partial.rename(folder)
    except OSError as error:
        raise BackupError(
            f"cannot back up {home} to {to} ({error.filename or ''}: {error.strerror}): let this user read "
            "the one and write the other, with room on both disks"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


@contextmanager
def _frozen(home: Path) -> Iterator[Path]:
    """Yield a folder beside the stores that holds them as they are now."""
    frozen = home / FROZEN
    with lake.exclusive(home / "backup", wait=True):
        shutil.rmtree(frozen, ignore_errors=True)
        try:
            _take(home, frozen, lambda path: path.as_posix().startswith(BEFORE_DATABASES))
            _take(home, frozen, lambda path: is_database(home / path))
            with _history_kept(home / "lake"):
                _take(home, frozen, lambda path: True)
            yield frozen
        finally:
            shutil.rmtree(frozen, ignore_errors=True)


def _history_kept(folder: Path) -> AbstractContextManager[None]:
    """Let nobody replace the views' histories meanwhile, which are of one time only together."""
    return lake.exclusive(folder / "features", wait=True) if folder.is_dir() else nullcontext()


def _take(home: Path, frozen: Path, chosen: Callable[[Path], bool]) -> None:
    """Bring the chosen files of ``home`` into ``frozen``, but for those that are there already."""
    for name in files(home):
        # A file may go meanwhile, as those of the inbox do.
        with suppress(FileNotFoundError):
            if not (frozen / name).exists() and chosen(name):
                (frozen / name).parent.mkdir(parents=True, exist_ok=True)
                take = _copy_database if is_database(home / name) else _link
                take(home / name, frozen / name)


def _copy_database(source: Path, target: Path) -> None:
    """Copy an SQLite database as of one moment, what is only in its log included."""
    try:
        with (
            closing(sqlite3.connect(f"{source.as_uri()}?mode=rw", timeout=BUSY_SECONDS, uri=True)) as live,
            closing(sqlite3.connect(target)) as copied,
        ):
            live.backup(copied)
            (found,) = copied.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise BackupError(f"{source} cannot be copied ({error}): see who holds it, or mend it") from error
    if found != "ok":
        raise BackupError(f"{source} is damaged ({found}): restore it from an older backup first")
    shutil.copymode(source, target)


def _link(source: Path, target: Path) -> None:
    """Give a file a second name; copy it where the file system, or another owner, does not allow that."""
    try:
        os.link(source.resolve(strict=True), target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copy2(source, target)


def _check_room(needed: int, to: Path) -> None:
    free = shutil.disk_usage(to).free
    if free < needed:
        raise BackupError(
            f"the backup takes {needed / 1e9:.2f} GB and {free / 1e9:.2f} GB are free at {to}: free some "
            "space or name another disk"
        )
