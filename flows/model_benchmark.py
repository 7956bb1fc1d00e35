"""How good the recommender is on a split in time: `python -m flows bench-model --data FILE [--split DAY]`.

Each figure stands beside its baselines of the same run; intervals are 95 % bootstrap over users. What is
learnt depends on the order of the events, so every figure is the mean over trainings of several seeds. Every
feature is as of its event, from what had happened and arrived before it; the catalogue is that of its day.
"""

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from feature_repo.settings import FeatureSettings
from flows.benchmark_split import Split, split_frames
from flows.training import feature_columns
from flows.training_benchmark import precompute, train_seconds, warm_start
from models.columns import Columns, Context

if TYPE_CHECKING:
    from models.recommender import Recommender
    from models.window_scores import Window, WindowScores

SPLIT = pd.Timestamp("2017-07-01", tz="UTC")
"""The day that parts Rent the Runway into what is learnt and what is tested."""

POINTS_PER_STAR = 2.0
"""Rent the Runway rates 2..10; published errors are in its points."""

SEEDS = (7, 8, 9)
"""The default and the next ones: an RMSE moves by some .0005 with the seed, as much as is at stake."""

SIZES: dict[str, float | None] = {"": None, "_coarse_size": 4.0, "_raw_size": 1.0}
"""Figures by what the model is told of the chosen size: nothing, its class of 4, or its code."""


def benchmark(data: str, split: pd.Timestamp = SPLIT) -> dict[str, Any]:
    """Measure, and write ``bench/model.json`` below the home; the benchmark has a lake of its own there.

    Args:
        data: path of a source's file; empty for the generator.
        split: events before it are learnt from, the others tested.
    """
    settings = FeatureSettings()
    own = settings.model_copy(update={"home": settings.home / "bench" / "model"})
    frames = split_frames(own, data, split)
    entries: dict[str, Any] = {}
    file = settings.home / "bench" / "model.json"
    for measure in (_of_sizes, train_seconds, warm_start, precompute):
        for name, entry in measure(frames).items():
            entries[name] = entry
            print(f"{name}: {json.dumps(entry, ensure_ascii=False)}")
            file.write_text(json.dumps(entries, indent=2, ensure_ascii=False) + "\n")
    return entries


def _with_size(columns: Columns, step: float | None) -> Columns:
    """The columns with the chosen size in classes of ``step``, or without it."""
    others = tuple(context for context in columns.context if context.name != "size")
    size = () if step is None else (Context("size", "rental_size_counts", step),)
    return replace(columns, context=(*others, *size))


def _of_sizes(frames: Split) -> dict[str, Any]:
    """Ranking by what is told of the size; ratings with its class."""
    from models import gradient_boosting
    from models.metrics import interval
    from models.recommender import RATING_SCALE
    from models.settings import Hyperparameters
    from models.train import fit
    from models.window_scores import Window, WindowScores, baseline_scores, model_scores

    entries: dict[str, Any] = {}
    window = Window(frames.test, frames.known_catalogues, feature_columns())
    rivals = baseline_scores("the baselines", window, frames.train)
    users, stars = window.events["user_id"].to_numpy(), window.events["rating"].to_numpy(np.float64)
    for suffix, step in SIZES.items():
        columns = _with_size(feature_columns(), step)
        models = [fit(frames.train, frames.catalogues, columns, Hyperparameters(seed=seed)) for seed in SEEDS]
        by_seed = [model_scores("the recommender", model, window) for model in models]
        scores = WindowScores(
            "the recommender",
            np.mean([one.squared_error for one in by_seed], axis=0),
            np.mean([one.ndcg for one in by_seed], axis=0),
        )
        gain = scores.ndcg[window.ranked] - rivals.ndcg[window.ranked]
        ndcg, rival_ndcg = _ndcg(scores, window), _ndcg(rivals, window)
        entries[f"rtr_ndcg10{suffix}"] = {
            **ndcg,
            "unit": "NDCG@10 over the rentals known at the split, higher is better",
            "baseline": rival_ndcg | {"name": "decayed popularity by purpose"},
            "ratio": ndcg["value"] / rival_ndcg["value"],
            "by_seed": [float(one.ndcg[window.ranked].mean()) for one in by_seed],
            "gain_interval": interval(gain, users[window.ranked]),
            "how": f"{int(window.ranked.sum()):,} events from {frames.at:%Y-%m-%d} on, daily catalogues; "
            f"seeds {SEEDS}",
        }
        if step == SIZES["_coarse_size"]:
            trees = [gradient_boosting.predict(frames.train, frames.test, columns, seed) for seed in SEEDS]
            errors = [(np.clip(predicted, *RATING_SCALE) - stars) ** 2 for predicted in trees]
            error = np.mean(errors, axis=0)
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
                "by_seed": {
                    "recommender": [_rmse(one.squared_error) for one in by_seed],
                    "LightGBM": [_rmse(one) for one in errors],
                },
                "paired_gain_over_lightgbm": {
                    "mean_squared_error": float((error - scores.squared_error).mean() * POINTS_PER_STAR**2),
                    "interval": [
                        end * POINTS_PER_STAR**2 for end in interval(error - scores.squared_error, users)
                    ],
                },
                "segments": _segments(scores, window, frames.train),
                "calibration": _calibration(models[0], window),
                "how": f"{len(stars):,} events from {frames.at:%Y-%m-%d} on, the size told in classes of 4; "
                f"seeds {SEEDS}; the calibration is that of the first",
            }
    return entries


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
