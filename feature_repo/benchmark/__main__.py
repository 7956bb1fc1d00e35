"""``python -m feature_repo.benchmark [NAME ...]``: measure, and put figures into ``bench/features.json``."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from feature_repo.benchmark import backfill, join, online, stream
from feature_repo.benchmark.marketplace import marketplace
from feature_repo.settings import FeatureSettings

ENTRIES: dict[str, Callable[[FeatureSettings, str], dict[str, Any]]] = {
    "materialize_sqlite": lambda settings, data: online.materialize(settings, "sqlite"),
    "materialize_redis": lambda settings, data: online.materialize(settings, "redis"),
    "online_read_1": lambda settings, data: online.online_read(settings, 1),
    "online_read_100": lambda settings, data: online.online_read(settings, 100),
    "point_in_time_join": lambda settings, data: join.point_in_time_join(marketplace(settings, data)),
    "event_to_online": lambda settings, data: stream.event_to_online(marketplace(settings, data)),
    "backfill_scaling": lambda settings, data: backfill.backfill_scaling(marketplace(settings, data)),
}
"""What is measured, by the name in the file; each is ``{"value", "unit", "baseline", "ratio", "how"}``."""


def main() -> None:
    """Measure some entries, or all, and merge each into the file as soon as it is known."""
    parser = argparse.ArgumentParser(prog="python -m feature_repo.benchmark", description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ENTRIES)}; all without")
    parser.add_argument("--data", default="", help="a source's file; without it the generator's marketplace")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - ENTRIES.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(ENTRIES)}")
    settings = FeatureSettings()
    file = settings.home / "bench" / "features.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or ENTRIES:
        entry = ENTRIES[name](settings, arguments.data)
        known = json.loads(file.read_text()) if file.is_file() else {}
        temporary = file.with_name(f".features.{os.getpid()}.json")
        temporary.write_text(json.dumps({**known, name: entry}, indent=2, ensure_ascii=False) + "\n")
        temporary.replace(file)
        sys.stdout.write(f"{name}: {json.dumps(entry, ensure_ascii=False)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
