"""Lines that are no events: kept with the reason, until somebody repairs and publishes them again."""

import json
from pathlib import Path

from feature_repo import durable
from feature_repo.settings import FeatureSettings
from feature_repo.stream.events import Refused


def folder(settings: FeatureSettings) -> Path:
    """Where refused lines are, a file per micro-batch that had any."""
    return settings.lake / "quarantine" / "stream"


def write(settings: FeatureSettings, arrived_at: int, refused: list[Refused]) -> None:
    """Write the refused lines of the micro-batch of that time; writing it again replaces it."""
    if not refused:
        return
    with durable.writing(folder(settings) / f"{arrived_at}.jsonl") as file:
        for each in refused:
            text = each.line.text.decode("utf-8", "backslashreplace")
            row = {"reason": each.reason, "text": text, "source": each.line.source, "arrived_at": arrived_at}
            file.write((json.dumps(row) + "\n").encode())
