"""Figures of merit of one model's predictions, with 95 % bootstrap intervals over users."""

from collections.abc import Iterator

import numpy as np

from models.benchmark.dataset import Dataset
from models.collaborative.ranker import Ranker
from models.metrics import CUT, hit_rate, interval, ndcg, ranks

BLOCK_SCORES = 20_000_000
"""Scores that are held at a time: 80 MB."""

Figure = dict[str, float]
"""``value``, ``low`` and ``high``."""


def ranking_figures(ranker: Ranker, data: Dataset) -> dict[str, Figure]:
    """Return HR and NDCG over the whole catalogue and, where given, against the negatives.

    Each test event counts by itself. In the whole catalogue the user's training items are left out; the
    user's other test items stay.
    """
    full, sampled = [], []
    for rows in _blocks(data):
        users, items = data.test_users[rows], data.test_items[rows]
        scores = np.array(ranker.scores(users), dtype=np.float32)
        if data.negatives is not None:
            sampled.append(sampled_ranks(scores, items, data.negatives[rows]))
        full.append(full_ranks(scores, items, data.train.matrix[users].toarray() > 0))
    figures = _of_ranks("full", np.concatenate(full), data.test_users)
    if sampled:
        figures |= _of_ranks("sampled", np.concatenate(sampled), data.test_users)
    return figures


def full_ranks(scores: np.ndarray, items: np.ndarray, had: np.ndarray) -> np.ndarray:
    """Return each item's rank, from 0, among all items that the user did not have.

    Args:
        scores: [events, items].
        items: the item of each event [events].
        had: whether the user had each item [events, items].
    """
    scores = np.where(had, -np.inf, scores)
    return ranks(scores, items)


def sampled_ranks(scores: np.ndarray, items: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """Return each item's rank, from 0, among its negatives.

    Args:
        scores: [events, items].
        items: the item of each event [events].
        negatives: other items [events, most]; -1 where fewer.
    """
    compared = np.take_along_axis(scores, np.column_stack([items, np.maximum(negatives, 0)]), axis=1)
    compared[:, 1:][negatives < 0] = -np.inf
    return ranks(compared, np.zeros(len(items), dtype=np.int64))


def rating_figures(predicted: np.ndarray, data: Dataset) -> dict[str, Figure]:
    """Return RMSE and MAE of the predicted ratings [test events]."""
    if data.test_ratings is None or not np.isfinite(predicted).all():
        raise ValueError("predicted ratings are not finite, or the test has none: the model is damaged")
    error = predicted - data.test_ratings
    squared = _figure(error**2, data.test_users)
    return {
        "rmse": {name: float(np.sqrt(value)) for name, value in squared.items()},
        "mae": _figure(np.abs(error), data.test_users),
    }


def _of_ranks(over: str, rank: np.ndarray, users: np.ndarray) -> dict[str, Figure]:
    return {
        f"{over}_hr@{CUT}": _figure(hit_rate(rank), users),
        f"{over}_ndcg@{CUT}": _figure(ndcg(rank), users),
    }


def _figure(values: np.ndarray, users: np.ndarray) -> Figure:
    low, high = interval(values, users)
    return {"value": float(values.mean()), "low": low, "high": high}


def _blocks(data: Dataset) -> Iterator[np.ndarray]:
    size = max(1, BLOCK_SCORES // data.train.item_count)
    for start in range(0, len(data.test_users), size):
        yield np.arange(start, min(start + size, len(data.test_users)))
