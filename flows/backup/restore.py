"""Restoring a home from a backup: checked whole before the first file takes its place."""

import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from feature_repo import lake, store
from feature_repo.settings import FeatureSettings
from flows.backup import BackupError
from flows.backup.contents import entries, files
from flows.backup.folder import HOME, About, copy, damaged, open_sealed
from serving.settings import ServingSettings
from serving.status import status

STAGED = ".restore"
"""Folder of the home into which a backup is copied and checked first."""


def restore(folder: Path, settings: FeatureSettings, replace: bool) -> tuple[About, Path | None]:
    """Bring a backup into an empty home, or into one whose content is set aside for it.

    All is copied and checked beside what is there, then moved, the lake last. From the first move to the last
    the home counts as half restored (``lake.check_room``): after a kill in between, restore again.

    Args:
        folder: a backup.
        settings: of the home.
        replace: set what the home holds aside, below ``archive``; nothing is deleted.

    Returns:
        Where the backup comes from, and the folder of what was set aside, None where nothing was.

    Raises:
        BackupError: it is no backup, or damaged; the home holds something, or is in use.
        LakeError: a run is writing the home.
    """
    home = settings.home
    about, sums = open_sealed(folder)
    if status(ServingSettings(home=home)).running:
        raise BackupError(f"what is served uses {home}: `make down` first")
    home.mkdir(parents=True, exist_ok=True)
    moved = about.home != str(home.resolve())
    with lake.exclusive(home / "restore"):
        half = home / lake.HALF_RESTORED
        if not (replace or half.exists()) and next(files(home), None):
            raise BackupError(f"{home} holds data already: REPLACE=1 (--replace) sets it aside")
        staged = home / STAGED
        try:
            _copy_checked(folder, staged, sums)
            if moved:
                _move_registry(staged / "mlflow", Path(about.home), home.resolve())
            with _nobody_writes(home):
                half.touch()
                try:
                    aside = _set_aside(home)
                    _move_in(staged, home)
                except OSError as error:
                    raise BackupError(
                        f"{home} is half restored ({error}): stop what writes it and restore again"
                    ) from error
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        if moved and (home / "feast" / "registry.db").exists():
            # Feast's registry names the lake by its path as well.
            store.register(store.open_store(settings), settings.lake)
        half.unlink()
    return about, aside


def _copy_checked(folder: Path, staged: Path, sums: Mapping[str, str]) -> None:
    shutil.rmtree(staged, ignore_errors=True)
    try:
        for name, content in sums.items():
            if copy(folder / HOME / name, staged / name) != content:
                raise damaged(folder, f"{HOME}/{name}", "changed")
    except OSError as error:
        raise BackupError(
            f"cannot restore from {folder} ({error.filename or ''}: {error.strerror}): let this user read it "
            "and write the home, on a disk with room"
        ) from error


@contextmanager
def _nobody_writes(home: Path) -> Iterator[None]:
    """Raise ``LakeError`` if features are computed, a stream runs or a training, and keep these away."""
    with ExitStack() as stack:
        for target in (home / "lake" / "features", home / "stream" / "run", home / "retraining"):
            if lake.lock_of(target).exists():
                stack.enter_context(lake.exclusive(target))
        yield


def _set_aside(home: Path) -> Path | None:
    held = entries(home)
    if not held:
        return None
    aside = home / "archive" / f"before-restore-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"
    for entry in held:
        target = aside / entry.relative_to(home)
        target.parent.mkdir(parents=True, exist_ok=True)
        entry.rename(target)
    return aside


def _move_in(staged: Path, home: Path) -> None:
    # Without a lake nothing computes, trains or judges, so it comes last.
    for entry in sorted(entries(staged), key=lambda entry: entry.name == "lake"):
        target = home / entry.relative_to(staged)
        target.parent.mkdir(parents=True, exist_ok=True)
        entry.rename(target)


def _move_registry(mlflow: Path, old: Path, new: Path) -> None:
    """Let MLflow's database name its artifacts by the home's new path; MLflow has no command for that."""
    if not (mlflow / "mlflow.db").exists():
        return
    before, after = (f"{(home / mlflow.name).as_uri()}/" for home in (old, new))
    with closing(sqlite3.connect(mlflow / "mlflow.db")) as connection, connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for _, column, kind, *_ in connection.execute(f"PRAGMA table_info({table})").fetchall():
                if kind.startswith(("VARCHAR", "TEXT")):
                    connection.execute(
                        f"UPDATE {table} SET {column} = replace({column}, ?, ?) "  # noqa: S608
                        f"WHERE instr({column}, ?)",
                        (before, after, before),
                    )
