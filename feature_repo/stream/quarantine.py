"""Lines that are no events: kept with the reason, until somebody repairs and publishes them again."""

import json
import os
from pathlib import Path

from feature_repo.settings import FeatureSettings
from feature_repo.stream.events import Refused
from feature_repo.stream.inbox import sync


def folder(settings: FeatureSettings) -> Path:
    """Where refused lines are, a file per micro-batch that had any."""
    return settings.lake / "quarantine" / "stream"


def write(settings: FeatureSettings, arrived_at: int, refused: list[Refused]) -> None:
    """Write the refused lines of the micro-batch of that time; writing it again replaces it."""
    if not refused:
        return
    target = folder(settings) / f"{arrived_at}.jsonl"
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}")
    with temporary.open("w", encoding="utf-8") as file:
        for each in refused:
            text = each.line.text.decode("utf-8", "backslashreplace")
            row = {"reason": each.reason, "text": text, "source": each.line.source, "arrived_at": arrived_at}
            file.write(json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(target)
    sync(target.parent)
