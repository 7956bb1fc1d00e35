"""The folder of files that the stream reads: JSON lines, each file whole from the moment it has its name."""

import json
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from feature_repo import durable
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
    name = f"{time.time_ns()}-{uuid.uuid4().hex}.jsonl"
    with durable.writing(folder(settings) / name) as file:
        file.writelines((json.dumps(event, allow_nan=False) + "\n").encode() for event in events)


def version(file: Path) -> str:
    """What tells a file from another one of its name: size and time of writing, as Spark gives them."""
    status = file.stat()
    return f"{status.st_size}:{status.st_mtime_ns // 1_000_000}"


def remove(settings: FeatureSettings, files: Mapping[str, str]) -> None:
    """Remove files as they were read; one that came since under the same name stays, to be read."""
    for name, read in files.items():
        file = folder(settings) / name
        if file.exists() and version(file) == read:
            file.unlink(missing_ok=True)
