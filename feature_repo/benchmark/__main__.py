"""``python -m feature_repo.benchmark [NAME ...]``: measure; the figures go to ``bench/features.json``."""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from feature_repo.benchmark import online
from feature_repo.settings import FeatureSettings

ENTRIES: dict[str, Callable[[FeatureSettings], dict[str, Any]]] = {
    "materialize_sqlite": lambda settings: online.materialize(settings, "sqlite"),
    "materialize_redis": lambda settings: online.materialize(settings, "redis"),
    "online_read_1": lambda settings: online.online_read(settings, 1),
    "online_read_100": lambda settings: online.online_read(settings, 100),
}
"""What is measured, by the name in the file; each is ``{"value", "unit", "baseline", "ratio", "how"}``."""


def main(names: list[str]) -> None:
    """Measure some entries, or all, and merge each into the file as soon as it is known."""
    if unknown := set(names) - ENTRIES.keys():
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(ENTRIES)}")
    settings = FeatureSettings()
    file = settings.home / "bench" / "features.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    for name in names or ENTRIES:
        entry = ENTRIES[name](settings)
        known = json.loads(file.read_text()) if file.is_file() else {}
        temporary = file.with_name(f".features.{os.getpid()}.json")
        temporary.write_text(json.dumps({**known, name: entry}, indent=2, ensure_ascii=False) + "\n")
        temporary.replace(file)
        sys.stdout.write(f"{name}: {json.dumps(entry, ensure_ascii=False)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
