"""Evaluation: the recommender and its rivals on the same later events."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from models import baselines
from models.catalogues import ABSENT, Catalogues
from models.data import tensors
from models.evaluation import Decile, Evaluation
from models.metrics import hit_rate, interval, ndcg, ranks
from models.recommender import RATING_SCALE, Recommender

CHUNK = 1024
"""Events scored at a time, to bound memory at events x rentals."""

DECILES = 10

Scorer = Callable[[int], Callable[[np.ndarray], np.ndarray]]
"""From a snapshot's number to what scores, over that snapshot, the test events with given numbers:
[events, rentals]."""


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
    test = test_events.reset_index(drop=True)
    snapshots = Catalogues(catalogues, columns)
    numbers, positions = snapshots.locate(test)
    ranked = np.flatnonzero(positions != ABSENT)
    if not ranked.size:
        raise ValueError("no test event's rental is in the catalogue before it; add catalogue snapshots")
    users = test["user_id"].astype(str).to_numpy()
    history = pd.concat([train_events, test], ignore_index=True)

    def rank_by(scorer: Scorer) -> np.ndarray:
        found = np.empty(len(test))
        for number in np.unique(numbers[ranked]):
            group = ranked[numbers[ranked] == number]
            score = scorer(number)
            for start in range(0, len(group), CHUNK):
                part = group[start : start + CHUNK]
                found[part] = ranks(score(part), positions[part])
        return found[ranked]

    def popularity(number: int) -> Callable[[np.ndarray], np.ndarray]:
        counts = baselines.popularity(history, snapshots.times[number], snapshots.rental_ids[number])
        return lambda part: np.tile(counts, (len(part), 1))

    purpose_codes, purposes = pd.factorize(test["purpose"], use_na_sentinel=False)

    def by_purpose(number: int) -> Callable[[np.ndarray], np.ndarray]:
        at, rental_ids = snapshots.times[number], snapshots.rental_ids[number]
        table = baselines.popularity_by_purpose(history, at, rental_ids, pd.Series(purposes))
        return lambda part: table[purpose_codes[part]]

    rating = test["rating"].to_numpy(np.float64)
    predicted = predict_ratings(model, test)
    rank = rank_by(_model_scorer(model, test, snapshots))
    rank_popular, rank_purpose = rank_by(popularity), rank_by(by_purpose)
    squared = (predicted - rating) ** 2
    low, high = interval(squared, users)
    gain = ndcg(rank) - ndcg(rank_purpose)
    return Evaluation(
        events=len(test),
        ranked_events=len(ranked),
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


@torch.no_grad()
def predict_ratings(model: Recommender, test: pd.DataFrame) -> np.ndarray:
    """Predict the rating of each event [events], cut to 1..5.

    Raises:
        ValueError: the model answers NaN.
    """
    encoding = model.encoding
    user = model.user_side(*tensors(encoding.user.encode(test)))
    rental = model.rental_side(*tensors(encoding.rental.encode(test)))
    predicted = model.paired_ratings(user, rental).numpy().astype(np.float64)
    if np.isnan(predicted).any():
        raise ValueError("predicted ratings hold NaN: the model is damaged; train it again")
    return np.clip(predicted, *RATING_SCALE)


def _model_scorer(model: Recommender, test: pd.DataFrame, snapshots: Catalogues) -> Scorer:
    encoding = model.encoding

    @torch.no_grad()
    def over(number: int) -> Callable[[np.ndarray], np.ndarray]:
        rentals = model.rental_side(*tensors(encoding.rental.encode(snapshots.frames[number])))

        @torch.no_grad()
        def score(part: np.ndarray) -> np.ndarray:
            user = model.user_side(*tensors(encoding.user.encode(test.iloc[part])))
            return model.scores(user, rentals).numpy()

        return score

    return over


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
