"""How the computation of the whole history grows with the data: time, and the memory of the driver."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo import history, lake
from feature_repo.schema import TABLES
from feature_repo.settings import FeatureSettings

SCALES = (1, 4, 16)
"""Copies of the lake's data, each with ids of its own."""

IDS = ("user_id", "rental_id", "rating_id")


def backfill_scaling(settings: FeatureSettings) -> dict[str, object]:
    """Compute the history of copies of the lake under ``settings``, each scale in a process of its own.

    Returns:
        By scale: seconds, and the peak memory of the driver's Python process and of its JVM, which in local
        mode is the executor as well.
    """
    found = {}
    for scale in SCALES:
        home = settings.home / "bench" / f"copies-{scale}"
        _replicate(settings.lake, FeatureSettings(home=home).lake, scale)
        run = subprocess.run(
            [sys.executable, "-m", "feature_repo.benchmark.backfill", str(home)],
            check=True,
            capture_output=True,
            text=True,
        )
        found[scale] = json.loads(run.stdout.splitlines()[-1])
        sys.stderr.write(f"{scale}x: {found[scale]}\n")
        shutil.rmtree(home)
    seconds = {f"{scale}x": result["seconds"] for scale, result in found.items()}
    one, most = found[SCALES[0]]["seconds"], found[SCALES[-1]]["seconds"]
    return {
        "value": seconds,
        "unit": "s",
        "baseline": one,
        "ratio": round(most / one, 2),
        "how": f"history.compute of {found[1]['ratings']:,} ratings and of 4 and 16 copies with ids of their "
        "own, a process each, Spark's start included; ratio: 16 copies to one",
        "history_rows": {f"{scale}x": result["rows"] for scale, result in found.items()},
        "driver_python_megabytes": {
            f"{scale}x": result["python_megabytes"] for scale, result in found.items()
        },
        "driver_jvm_megabytes": {f"{scale}x": result["jvm_megabytes"] for scale, result in found.items()},
        "jvm_heap_limit": settings.spark_driver_memory,
    }


def _replicate(source: Path, target: Path, copies: int) -> None:
    """Write ``copies`` of each table, a batch per copy, the ids told apart by a suffix."""
    for table, schema in TABLES.items():
        rows = pa.Table.from_pandas(lake.read(source, table), schema, preserve_index=False)
        for copy in range(copies):
            renamed = rows
            for name in set(IDS) & set(schema.names):
                ids = pc.binary_join_element_wise(rows[name], str(copy), "~")
                renamed = renamed.set_column(schema.get_field_index(name), schema.field(name), ids)
            lake.land(target, table, f"copy-{copy}", renamed)


def _peak_megabytes(process: str) -> int:
    """Largest resident memory of a process so far, as Linux counts it."""
    status = Path(f"/proc/{process}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


def main(home: str) -> None:
    """Compute the history of the lake under ``home`` and print what it took as JSON."""
    from feature_repo.spark import session

    settings = FeatureSettings(home=Path(home))
    until = lake.clock(settings.lake)
    began = time.perf_counter()
    rows = history.compute(settings, until)
    seconds = time.perf_counter() - began
    gateway: Any = session(settings).sparkContext._gateway
    result = {
        "seconds": round(seconds, 1),
        "ratings": sum(pq.read_metadata(f).num_rows for f in (settings.lake / "ratings").glob("*.parquet")),
        "rows": sum(rows.values()),
        "python_megabytes": _peak_megabytes("self"),
        "jvm_megabytes": _peak_megabytes(str(gateway.proc.pid)),
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
