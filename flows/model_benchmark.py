"""How good the recommender is on a split in time: `python -m flows bench-model --data FILE [--split DAY]`.

Each figure stands beside its baselines of the same run; intervals are 95 % bootstrap over users. Every
feature is as of its event, from what had happened and arrived before it; the catalogue is that of its day.
"""

import json
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from feature_repo import lake
from feature_repo.settings import FeatureSettings
from flows.settings import FlowSettings
from flows.training import feature_columns, with_size_labels
from models.columns import Columns, Context

if TYPE_CHECKING:
    from models.recommender import Recommender
    from models.window_scores import Window, WindowScores

SPLIT = pd.Timestamp("2017-07-01", tz="UTC")
"""The day that parts Rent the Runway into what is learnt and what is tested."""

POINTS_PER_STAR = 2.0
"""Rent the Runway rates 2..10; published errors are in its points."""

WARM_DAYS = 30
"""The champion of the warm start ends so long before the split: what a month later is new to it."""

SIZES: dict[str, float | None] = {"": None, "_coarse_size": 4.0, "_raw_size": 1.0}
"""Figures by what the model is told of the chosen size: nothing, its class of 4, or its code."""


@dataclass(frozen=True)
class Split:
    """Events before and after the split, and the catalogues: weekly before it, daily after it."""

    train: pd.DataFrame
    test: pd.DataFrame
    catalogues: pd.DataFrame


def benchmark(data: str, split: pd.Timestamp = SPLIT) -> dict[str, Any]:
    """Measure, and write ``bench/model.json`` below the home; the benchmark has a lake of its own there.

    Args:
        data: path of a source's file; empty for the generator.
        split: events before it are learnt from, the others tested.
    """
    settings = FeatureSettings()
    frames = _frames(settings.model_copy(update={"home": settings.home / "bench" / "model"}), data, split)
    entries: dict[str, Any] = {}
    file = settings.home / "bench" / "model.json"
    for measure in (_of_sizes, _warm_start):
        for name, entry in measure(frames, split).items():
            entries[name] = entry
            print(f"{name}: {json.dumps(entry, ensure_ascii=False)}")
            file.write_text(json.dumps(entries, indent=2, ensure_ascii=False) + "\n")
    return entries


def _frames(settings: FeatureSettings, data: str, split: pd.Timestamp) -> Split:
    from feature_repo import history, spark, store
    from flows.ingest import ingest

    print(ingest(data, None, None, settings))
    until = lake.clock(settings.lake)
    print(history.compute(settings, until))
    spark.session(settings)
    opened = store.open_store(settings)
    store.register(opened, settings.lake)
    ratings, rentals = (lake.read(settings.lake, table) for table in ("ratings", "rentals"))
    events = with_size_labels(store.as_of_events(opened, ratings))
    train = events[events["event_timestamp"] < split].reset_index(drop=True)
    weeks = pd.date_range(end=split, periods=FlowSettings().catalogue_weeks + 1, freq="7D")[:-1]
    days = pd.date_range(split, until, freq="D", inclusive="left")
    known = rentals[rentals["rental_id"].isin(set(train["rental_id"]))]
    catalogues = [store.catalogue_as_of(opened, rentals, list(weeks))]
    # A month at a time: a catalogue a day is more than the driver should hold at once.
    for part in np.array_split(days, -(-len(days) // 30)):
        catalogues.append(store.catalogue_as_of(opened, known, list(pd.DatetimeIndex(part))))
    test = events[events["event_timestamp"] >= split].reset_index(drop=True)
    return Split(train, test, pd.concat(catalogues, ignore_index=True))


def _with_size(columns: Columns, step: float | None) -> Columns:
    """The columns with the chosen size in classes of ``step``, or without it."""
    others = tuple(context for context in columns.context if context.name != "size")
    size = () if step is None else (Context("size", "rental_size_counts", step),)
    return replace(columns, context=(*others, *size))


def _of_sizes(frames: Split, split: pd.Timestamp) -> dict[str, Any]:
    """Ranking by what is told of the size; ratings with its class."""
    from models import gradient_boosting
    from models.metrics import interval
    from models.train import fit
    from models.window_scores import Window, baseline_scores, model_scores

    entries: dict[str, Any] = {}
    window = Window(frames.test, frames.catalogues, feature_columns())
    rivals = baseline_scores("the baselines", window, frames.train)
    users, stars = window.events["user_id"].to_numpy(), window.events["rating"].to_numpy(np.float64)
    for suffix, step in SIZES.items():
        columns = _with_size(feature_columns(), step)
        seconds = _Clock()
        model = fit(frames.train, frames.catalogues, columns)
        trained = seconds()
        scores = model_scores("the recommender", model, window)
        gain = scores.ndcg[window.ranked] - rivals.ndcg[window.ranked]
        entries[f"rtr_ndcg10{suffix}"] = {
            **_ndcg(scores, window),
            "unit": "NDCG@10 over the rentals known at the split, higher is better",
            "baseline": _ndcg(rivals, window) | {"name": "decayed popularity by purpose"},
            "ratio": _ndcg(scores, window)["value"] / _ndcg(rivals, window)["value"],
            "gain_interval": interval(gain, users[window.ranked]),
            "train_seconds": trained,
            "how": f"{int(window.ranked.sum()):,} events from {split:%Y-%m-%d} on, daily catalogues",
        }
        if step == SIZES["_coarse_size"]:
            trees = np.clip(gradient_boosting.predict(frames.train, frames.test, columns), 1.0, 5.0)
            error = (trees - stars) ** 2
            rmse = _rmse(scores.squared_error)
            entries["rtr_rmse"] = {
                "value": rmse,
                "interval": _rmse_interval(scores.squared_error, users),
                "unit": "RMSE in the source's points of 2..10, lower is better",
                "baseline": {
                    "LightGBM on the same features": _rmse(error),
                    "shrunk biases": _rmse(rivals.squared_error),
                    "mean rating": _rmse((frames.train["rating"].mean() - stars) ** 2),
                },
                "ratio": rmse / _rmse(error),
                "paired_gain_over_lightgbm": {
                    "mean_squared_error": float((error - scores.squared_error).mean() * POINTS_PER_STAR**2),
                    "interval": [
                        end * POINTS_PER_STAR**2 for end in interval(error - scores.squared_error, users)
                    ],
                },
                "segments": _segments(scores, window, frames.train),
                "calibration": _calibration(model, window),
                "how": f"{len(stars):,} events from {split:%Y-%m-%d} on, the size told in classes of 4",
            }
    return entries


def _warm_start(frames: Split, split: pd.Timestamp) -> dict[str, Any]:
    """Training that goes on from a month-old champion, beside training on everything anew."""
    from models.train import fit
    from models.window_scores import Window, model_scores

    columns = feature_columns()
    window = Window(frames.test, frames.catalogues, columns)
    early = frames.train[frames.train["event_timestamp"] < split - pd.Timedelta(days=WARM_DAYS)]
    champion = fit(early.reset_index(drop=True), frames.catalogues, columns)
    trained = {}
    for name, start in (("anew", None), ("warm", champion)):
        seconds = _Clock()
        model = fit(frames.train, frames.catalogues, columns, champion=start)
        trained[name] = (seconds(), model_scores(name, model, window))
    (whole_seconds, whole), (warm_seconds, warm) = trained["anew"], trained["warm"]
    return {
        "warm_start": {
            "value": warm_seconds,
            "unit": "seconds",
            "baseline": whole_seconds,
            "ratio": warm_seconds / whole_seconds,
            "rmse_ratio": _rmse(warm.squared_error) / _rmse(whole.squared_error),
            "ndcg10_ratio": _ndcg(warm, window)["value"] / _ndcg(whole, window)["value"],
            "how": f"a champion fitted until {WARM_DAYS} days before {split:%Y-%m-%d} goes on, beside a "
            "training on all events; both tested on the days after",
        }
    }


class _Clock:
    def __init__(self) -> None:
        self._started = time.perf_counter()

    def __call__(self) -> float:
        return round(time.perf_counter() - self._started, 1)


def _ndcg(scores: "WindowScores", window: "Window") -> dict[str, Any]:
    from models.metrics import interval

    users = window.events["user_id"].to_numpy()[window.ranked]
    return {
        "value": float(scores.ndcg[window.ranked].mean()),
        "interval": interval(scores.ndcg[window.ranked], users),
    }


def _rmse(squared_error: np.ndarray) -> float:
    return float(np.sqrt(squared_error.mean()) * POINTS_PER_STAR)


def _rmse_interval(squared_error: np.ndarray, users: np.ndarray) -> list[float]:
    from models.metrics import interval

    return [float(np.sqrt(end) * POINTS_PER_STAR) for end in interval(squared_error, users)]


def _segments(scores: "WindowScores", window: "Window", train: pd.DataFrame) -> dict[str, Any]:
    from flows.gating import AGE, BODY_TYPE
    from models.segments import PURPOSE, RENTAL, USER, group_figures, segments

    users = window.events["user_id"].to_numpy()
    groups = segments(window.events, train, AGE, BODY_TYPE)[[USER, RENTAL, PURPOSE]]
    return {
        f"{one.partition}: {one.group}": {
            "events": one.events,
            "rmse": one.rmse * POINTS_PER_STAR,
            "rmse_interval": [end * POINTS_PER_STAR for end in one.rmse_interval],
            "ndcg10": one.ndcg_at_10,
            "ndcg10_interval": one.ndcg_at_10_interval,
        }
        for one in group_figures(scores, window.ranked, users, groups)
    }


def _calibration(model: "Recommender", window: "Window") -> list[dict[str, float]]:
    """Predicted and given ratings, in points, by tenths of the predictions."""
    from models.evaluate import calibration
    from models.window_scores import predict_ratings

    predicted = predict_ratings(model, window.events)
    return [
        {
            "predicted": tenth.predicted * POINTS_PER_STAR,
            "given": tenth.observed * POINTS_PER_STAR,
            "events": tenth.events,
        }
        for tenth in calibration(predicted, window.events["rating"].to_numpy(np.float64))
    ]
