"""Evaluation: the recommender and its rivals on the same later events."""

import numpy as np
import pandas as pd

from models import baselines
from models.evaluation import Decile, Evaluation
from models.metrics import hit_rate, interval, ndcg
from models.recommender import Recommender
from models.window_scores import Window, model_scorer, predict_ratings, purpose_scorer

DECILES = 10


def evaluate(
    model: Recommender, test_events: pd.DataFrame, catalogues: pd.DataFrame, train_events: pd.DataFrame
) -> Evaluation:
    """Evaluate ``model`` and the baselines.

    Every prediction uses only what was known before its event: features as of the event, the latest
    snapshot, and, for the baselines, events before that snapshot (ranking) or of earlier days (rating).

    Raises:
        ColumnError: a frame lacks columns or rows.
        ValueError: no test event's rental is in a snapshot, or the model answers NaN.
    """
    columns = model.encoding.columns
    columns.check_events(test_events)
    window = Window(test_events, catalogues, columns)
    test, ranked = window.events, window.ranked
    if not ranked.any():
        raise ValueError("no test event's rental is in the catalogue before it; add catalogue snapshots")
    users = test["user_id"].astype(str).to_numpy()
    history = pd.concat([train_events, test], ignore_index=True)

    def popularity(number: int, part: np.ndarray) -> np.ndarray:
        at, rental_ids = window.snapshots.times[number], window.snapshots.rental_ids[number]
        return np.tile(baselines.popularity(history, at, rental_ids), (len(part), 1))

    rating = test["rating"].to_numpy(np.float64)
    predicted = predict_ratings(model, test)
    rank = window.ranks(model_scorer(model, window))[ranked]
    if np.isnan(predicted).any() or np.isnan(rank).any():
        raise ValueError("scores or predicted ratings hold NaN: the model is damaged; train it again")
    rank_popular = window.ranks(popularity)[ranked]
    rank_purpose = window.ranks(purpose_scorer(window, train_events))[ranked]
    squared = (predicted - rating) ** 2
    low, high = interval(squared, users)
    gain = ndcg(rank) - ndcg(rank_purpose)
    return Evaluation(
        events=len(test),
        ranked_events=int(ranked.sum()),
        rmse=float(np.sqrt(squared.mean())),
        rmse_interval=(float(np.sqrt(low)), float(np.sqrt(high))),
        ndcg_at_10=float(ndcg(rank).mean()),
        ndcg_at_10_interval=interval(ndcg(rank), users[ranked]),
        hr_at_10=float(hit_rate(rank).mean()),
        hr_at_10_interval=interval(hit_rate(rank), users[ranked]),
        ndcg_gain=float(gain.mean()),
        ndcg_gain_interval=interval(gain, users[ranked]),
        baselines={
            "global_mean_rmse": _rmse(np.full(len(test), train_events["rating"].mean()), rating),
            "bias_rmse": _rmse(baselines.earlier_bias(train_events, test), rating),
            "popularity_ndcg_at_10": float(ndcg(rank_popular).mean()),
            "popularity_hr_at_10": float(hit_rate(rank_popular).mean()),
            "popularity_by_purpose_ndcg_at_10": float(ndcg(rank_purpose).mean()),
            "popularity_by_purpose_hr_at_10": float(hit_rate(rank_purpose).mean()),
        },
        calibration=calibration(predicted, rating),
    )


def _rmse(predicted: np.ndarray, rating: np.ndarray) -> float:
    return float(np.sqrt(np.mean((predicted - rating) ** 2)))


def calibration(predicted: np.ndarray, rating: np.ndarray) -> tuple[Decile, ...]:
    """Mean predicted and given ratings by tenths of the predictions."""
    parts = np.array_split(np.argsort(predicted, kind="stable"), DECILES)
    return tuple(
        Decile(float(predicted[part].mean()), float(rating[part].mean()), len(part))
        for part in parts
        if part.size
    )
