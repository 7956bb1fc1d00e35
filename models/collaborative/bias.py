"""Ratings from mean and shrunk biases."""

import numpy as np

ITEM_SHRINKAGE = 10.0
"""Ratings at the mean that an item is assumed to have had already."""

USER_SHRINKAGE = 5.0
"""The same for a user."""


def predict_by_bias(
    train: tuple[np.ndarray, np.ndarray, np.ndarray], wanted: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Return mean + item bias + user bias, cut to the range of the training ratings; unknown biases are 0.

    Args:
        train: codes of users, codes of items and ratings [events].
        wanted: codes of users and items [pairs].
    """
    users, items, ratings = train
    mean = ratings.mean()
    item = _shrunk(items, ratings - mean, ITEM_SHRINKAGE, max(items.max(), wanted[1].max(initial=0)))
    user = _shrunk(
        users, ratings - mean - item[items], USER_SHRINKAGE, max(users.max(), wanted[0].max(initial=0))
    )
    return np.clip(mean + user[wanted[0]] + item[wanted[1]], ratings.min(), ratings.max())


def _shrunk(codes: np.ndarray, residual: np.ndarray, shrinkage: float, last: int) -> np.ndarray:
    sums = np.bincount(codes, weights=residual, minlength=last + 1)
    return sums / (np.bincount(codes, minlength=last + 1) + shrinkage)
