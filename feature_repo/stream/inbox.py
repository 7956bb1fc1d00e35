"""The folder of files that the stream reads: JSON lines, each file whole from the moment it has its name."""

import json
import os
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from feature_repo.settings import FeatureSettings


def folder(settings: FeatureSettings) -> Path:
    """Where events are put for the stream."""
    return settings.home / "stream" / "inbox"


def publish(settings: FeatureSettings, events: list[dict[str, Any]]) -> None:
    """Put events into the inbox, as one file; once this returns they survive a loss of power.

    Args:
        settings: whose ``home`` holds the inbox.
        events: JSON objects of the form ``events.RatingEvent``; they are validated by the stream.
    """
    if not events:
        return
    target = folder(settings)
    target.mkdir(parents=True, exist_ok=True)
    # Readers ignore names that begin with a dot.
    name = f"{time.time_ns()}-{uuid.uuid4().hex}.jsonl"
    temporary = target / f".{name}"
    with temporary.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(event, allow_nan=False) + "\n" for event in events)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(target / name)
    sync(target)


def remove(settings: FeatureSettings, names: Iterable[str]) -> None:
    """Remove files that were read."""
    for name in names:
        (folder(settings) / name).unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Bring the names in a folder onto the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
