"""What training and recommending cost, beside what others take: parts of `python -m flows bench-model`."""

import json
import os
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pandas as pd

from flows.benchmark_split import Split, SplitError
from flows.figures import figure
from flows.settings import CHECKOUT
from flows.training import feature_columns


def train_seconds(frames: Split) -> dict[str, Any]:
    """A training of both halves beside alternating least squares on the same events, which only rank."""
    from models.benchmark.spark_als import RANKING
    from models.settings import Hyperparameters
    from models.train import fit

    began = time.perf_counter()
    fit(frames.train, frames.catalogues, feature_columns())
    seconds = time.perf_counter() - began
    rivals = {
        "Spark ALS": _seconds_of_spark(frames.train),
        "implicit ALS": _seconds_of_implicit(frames.train),
    }
    seen = len(frames.train) * Hyperparameters().epochs
    how = f"{len(frames.train):,} events"
    return {
        "train_seconds": {
            "value": seconds,
            "unit": "seconds",
            "baseline": rivals,
            "ratio": {name: seconds / value for name, value in rivals.items()},
            "how": f"{how}; the recommender with features, weekly catalogues and ratings on one thread; the "
            f"rivals with ids alone, {RANKING['rank']} factors, {os.cpu_count()} threads; Spark ran already",
        },
        "samples_per_s": figure(
            seen / seconds, "events a second", f"{how}, {Hyperparameters().epochs} passes, on {_device()}"
        ),
    }


def warm_start(frames: Split) -> dict[str, Any]:
    """Month by month: go on from the model of the month before, beside a training on everything anew."""
    from models.train import fit
    from models.window_scores import Window, model_scores

    columns, catalogues = feature_columns(), frames.weekly_catalogues
    events = pd.concat([frames.train, frames.test], ignore_index=True)
    times = events["event_timestamp"]
    # The months that lie within the test as a whole.
    months = pd.date_range(
        frames.at + pd.offsets.MonthBegin(), times.max() - pd.DateOffset(months=1), freq="MS", normalize=True
    )
    if months.empty:
        raise SplitError(f"no whole month of ratings follows {frames.at:%Y-%m-%d}: give an earlier --split")
    begun = fit(frames.train, catalogues, columns)
    seconds: dict[str, list[float]] = {"anew": [], "warm": []}
    errors: dict[str, list[np.ndarray]] = {"anew": [], "warm": []}
    gains: dict[str, list[np.ndarray]] = {"anew": [], "warm": []}
    for month in months:
        until = month + pd.offsets.MonthBegin()
        known = events[times < month].reset_index(drop=True)
        near = frames.catalogues["snapshot_at"].between(month - pd.Timedelta(days=1), until, inclusive="left")
        later = events[(times >= month) & (times < until)]
        window = Window(later, frames.catalogues[near], columns)
        fitted = {}
        for name, champion in (("anew", None), ("warm", begun)):
            began = time.perf_counter()
            fitted[name] = fit(known, catalogues, columns, champion=champion)
            seconds[name].append(time.perf_counter() - began)
            scores = model_scores(name, fitted[name], window)
            errors[name].append(scores.squared_error)
            gains[name].append(scores.ndcg[window.ranked])
        begun = fitted["warm"]
    total = {name: sum(values) for name, values in seconds.items()}
    rmse = {name: np.sqrt(np.concatenate(values).mean()) for name, values in errors.items()}
    ndcg = {name: np.concatenate(values).mean() for name, values in gains.items()}
    by_month = zip(gains["warm"], gains["anew"], strict=True)
    return {
        "warm_start": {
            "value": total["warm"],
            "unit": "seconds",
            "baseline": total["anew"],
            "ratio": total["warm"] / total["anew"],
            "rmse_ratio": float(rmse["warm"] / rmse["anew"]),
            "ndcg10_ratio": float(ndcg["warm"] / ndcg["anew"]),
            "ndcg10_ratio_by_month": [float(warm.mean() / anew.mean()) for warm, anew in by_month],
            "how": f"{len(months)} months from {months[0]:%Y-%m} on, each tested on its own events with "
            "daily catalogues; a warm start goes on from that of the month before, the first from the split",
        }
    }


def precompute(_: Split) -> dict[str, Any]:
    """The best rentals of all users beside the bare matrix products: one thread, a process of its own."""
    command = [sys.executable, "-m", "models.precompute_benchmark", "--threads", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return {"precompute": json.loads(done.stdout)}


def _seconds_of_spark(events: pd.DataFrame) -> float:
    from pyspark.ml.recommendation import ALS

    from feature_repo import spark
    from feature_repo.settings import FeatureSettings
    from models.benchmark.spark_als import RANKING

    codes = {name: pd.factorize(events[name])[0].astype(np.int32) for name in ("user_id", "rental_id")}
    frame = spark.session(FeatureSettings()).createDataFrame(pd.DataFrame(codes).assign(rating=1.0)).cache()
    frame.count()
    began = time.perf_counter()
    ALS(userCol="user_id", itemCol="rental_id", ratingCol="rating", seed=0, **RANKING).fit(frame)
    return time.perf_counter() - began


def _seconds_of_implicit(events: pd.DataFrame) -> float:
    from implicit.cpu.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix
    from threadpoolctl import threadpool_limits

    from models.benchmark.spark_als import RANKING

    codes = [pd.factorize(events[name])[0] for name in ("user_id", "rental_id")]
    matrix = csr_matrix((np.ones(len(events), np.float32), codes))
    # The library has threads of its own; with those of its matrix products beside them it would be slower.
    with threadpool_limits(1, "blas"):
        began = time.perf_counter()
        AlternatingLeastSquares(factors=RANKING["rank"], random_state=0).fit(matrix, show_progress=False)
    return time.perf_counter() - began


def _device() -> str:
    import torch

    from models.settings import TrainerSettings

    on_gpu = torch.cuda.is_available() and TrainerSettings().accelerator != "cpu"
    return torch.cuda.get_device_name() if on_gpu else "one CPU thread; no GPU was at hand"
