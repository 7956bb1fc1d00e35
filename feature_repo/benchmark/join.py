"""The point-in-time join by Feast on Spark, beside DuckDB's ASOF join of the same tables."""

import time
from pathlib import Path

import numpy as np
import pandas as pd

from feature_repo import history, lake, store
from feature_repo.names import VIEWS
from feature_repo.settings import FeatureSettings
from feature_repo.spark import session
from feature_repo.views import VIEW_DEFINITIONS

FEATURES = tuple(feature for features in VIEWS.values() for feature in features)


def point_in_time_join(settings: FeatureSettings) -> dict[str, object]:
    """Join every rating of the lake under ``settings`` with every stored feature, in both ways.

    Returns:
        Rows a second, from parquet to a pandas frame, and those of DuckDB as the baseline.

    Raises:
        ValueError: the two do not agree; a figure of a wrong join would say nothing.
    """
    history.compute(settings, lake.clock(settings.lake))
    ratings = lake.read(settings.lake, "ratings")
    rentals = lake.read(settings.lake, "rentals")[["rental_id", "category"]]
    events = ratings.merge(rentals, on="rental_id", how="left")
    session(settings)
    opened = store.open_store(settings)
    store.register(opened, settings.lake)
    began = time.perf_counter()
    found = store.as_of(opened, events, store.references(FEATURES))
    seconds = time.perf_counter() - began
    began = time.perf_counter()
    expected = _by_duckdb(settings.lake, events)
    baseline_seconds = time.perf_counter() - began
    _compare(found, expected)
    value, baseline = len(events) / seconds, len(events) / baseline_seconds
    return {
        "value": round(value),
        "unit": "rows/s",
        "baseline": round(baseline),
        "ratio": round(value / baseline, 3),
        "how": f"{len(events):,} ratings x {len(FEATURES)} stored features, to pandas: Feast's Spark offline "
        f"store {seconds:.1f} s, DuckDB joins of the same parquet {baseline_seconds:.1f} s, one run each, "
        "checked to be equal",
    }


def _by_duckdb(tables: Path, events: pd.DataFrame) -> pd.DataFrame:
    import duckdb

    joins = " ".join(
        f"ASOF LEFT JOIN read_parquet('{tables / view.name}/*.parquet') AS {view.name} "
        f"ON events.{view.key} = {view.name}.{view.key} "
        f"AND events.event_timestamp >= {view.name}.event_timestamp"
        for view in VIEW_DEFINITIONS
    )
    columns = ", ".join(f"{view}.{feature.name}" for view, features in VIEWS.items() for feature in features)
    with duckdb.connect() as connection:
        connection.register("events", events)
        query = f"SELECT events.rating_id, {columns} FROM events {joins}"  # noqa: S608
        return connection.execute(query).df()


def _compare(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    found, expected = (frame.sort_values("rating_id", ignore_index=True) for frame in (found, expected))
    for feature in FEATURES:
        first, second = found[feature.name], expected[feature.name]
        if feature.kind in ("numeric", "time"):
            same = np.array_equal(first.astype(float), second.astype(float), equal_nan=True)
        else:
            same = first.where(first.notna(), None).tolist() == second.where(second.notna(), None).tolist()
        if not same:
            raise ValueError(f"Feast and DuckDB do not agree on {feature.name}")
