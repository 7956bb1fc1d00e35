"""A backup as a folder: the files as they are, and the checksums of all of them."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from flows.backup import BackupError

HOME = "home"
"""Folder with the files, each under its name in the home."""

ABOUT = "BACKUP.json"

SUMS = "SHA256SUMS"
"""Checksums of all other files, as ``sha256sum --check`` reads them; it is written last."""

FORMAT = 1
"""Rises when older code could not restore what newer code has written."""

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class About:
    """Where a backup comes from."""

    format: int
    home: str
    """Path of the home without links, as MLflow and Feast write it into their own records."""

    made_at: str
    git_commit: str


def copy(source: Path, target: Path) -> str:
    """Copy a file with its mode and times, and return the SHA-256 of what was copied."""
    target.parent.mkdir(parents=True, exist_ok=True)
    content = hashlib.sha256()
    with source.open("rb") as old, target.open("wb") as new:
        while block := old.read(BLOCK_BYTES):
            content.update(block)
            new.write(block)
    shutil.copystat(source, target)
    return content.hexdigest()


def names_below(folder: Path) -> Iterator[Path]:
    """Give every file below a folder, relative to it."""
    for at, _, names in os.walk(folder):
        yield from ((Path(at) / name).relative_to(folder) for name in names)


def seal(folder: Path, about: About, sums: Mapping[str, str]) -> None:
    """Write what makes a folder of files a backup.

    Args:
        folder: the backup.
        about: where it comes from.
        sums: checksum by name below ``folder``.

    Raises:
        BackupError: a name has a line break, which the list of checksums cannot hold.
    """
    if broken := [name for name in sums if "\n" in name]:
        raise BackupError(f"the name {broken[0]!r} has a line break: rename the file")
    (folder / ABOUT).write_text(json.dumps(asdict(about), indent=1))
    with (folder / ABOUT).open("rb") as file:
        sums = {ABOUT: hashlib.file_digest(file, "sha256").hexdigest(), **sums}
    text = "".join(f"{content}  {name}\n" for name, content in sums.items())
    (folder / SUMS).write_text(text, errors="surrogateescape")


def open_sealed(folder: Path) -> tuple[About, dict[str, str]]:
    """Return where a backup comes from and its files' checksums, by their names in the home.

    Raises:
        BackupError: it is no backup, one of newer code, or files of it are missing or foreign.
    """
    try:
        lines = (folder / SUMS).read_text(errors="surrogateescape").rstrip("\n").split("\n")
        listed = {name: content for content, _, name in (line.partition("  ") for line in lines)}
        stated = json.loads((folder / ABOUT).read_text())
        if stated["format"] > FORMAT:
            raise BackupError(f"{folder} was made by newer code: restore it by that, {stated['git_commit']}")
        about = About(**stated)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise BackupError(
            f"{folder} is no whole backup ({error}): name a folder that `make backup` has printed"
        ) from error
    found = {str(name) for name in names_below(folder)} - {SUMS}
    if differing := sorted(found ^ listed.keys()):
        what = "missing" if differing[0] in listed else "not part of it"
        raise damaged(folder, differing[0], what)
    if hashlib.sha256((folder / ABOUT).read_bytes()).hexdigest() != listed[ABOUT]:
        raise damaged(folder, ABOUT, "changed")
    below = f"{HOME}/"
    return about, {
        name.removeprefix(below): content for name, content in listed.items() if name.startswith(below)
    }


def damaged(folder: Path, name: str, what: str) -> BackupError:
    """Return the error that says which file of a backup is not what it was."""
    return BackupError(f"the backup {folder} is damaged: {name} is {what}; take another one")
