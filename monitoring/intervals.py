"""95 % intervals of figures whose rows depend on each other, such as the many ratings of one user.

The variance of a ratio of totals is linearized and taken between users (the "ultimate cluster" estimate of
Hansen, Hurwitz and Madow 1953), which costs one pass where a bootstrap of users costs a thousand.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


class Figure(NamedTuple):
    """A value with its 95 % interval; the interval is NaN with fewer than two users."""

    value: float
    lower: float
    upper: float


def mean(values: np.ndarray, users: np.ndarray) -> Figure:
    """Return the mean of ``values``."""
    value, error, quantile = _ratio(values, np.ones(len(values)), users)
    return Figure(value, value - quantile * error, value + quantile * error)


def root_mean(squares: np.ndarray, users: np.ndarray, weights: np.ndarray | None = None) -> Figure:
    """Return the root of the mean of ``squares``; the interval is symmetric in the logarithm, so above zero.

    Args:
        squares: such as squared errors.
        users: the user of each, 0, 1, …
        weights: of each, 1 by default.
    """
    weights = np.ones(len(squares)) if weights is None else weights
    value, error, quantile = _ratio(weights * squares, weights, users)
    factor = np.exp(quantile * error / (2 * value)) if value else 1 + 0 * error
    return Figure(value**0.5, value**0.5 / factor, value**0.5 * factor)


def share(values: np.ndarray, users: np.ndarray, weights: np.ndarray | None = None) -> Figure:
    """Return the total of ``values`` over that of ``weights``, and Wilson's interval (1927).

    It takes as many trials as the values are worth (Korn and Graubard 1998), so that it is right where the
    share is near zero, and none with no hit at all.

    Args:
        values: from 0 to 1.
        users: the user of each, 0, 1, …
        weights: the chance of each to be seen, 1 by default.
    """
    weights = np.ones(len(values)) if weights is None else weights
    value, error, quantile = _ratio(values, weights, users)
    value = float(np.clip(value, 0, 1))
    if np.isnan(error):
        return Figure(value, np.nan, np.nan)
    trials = value * (1 - value) / error**2 if error else float(len(np.unique(users)))
    spread = quantile**2 / trials
    centre = (value + spread / 2) / (1 + spread)
    half = quantile / (1 + spread) * np.sqrt(value * (1 - value) / trials + quantile**2 / (4 * trials**2))
    return Figure(value, float(max(0.0, centre - half)), float(min(1.0, centre + half)))


def slope(x: np.ndarray, y: np.ndarray, users: np.ndarray) -> Figure:
    """Return the slope of the least-squares line of ``y`` on ``x``; NaN where all ``x`` are alike.

    The variance is the sandwich between users (Liang and Zeger 1986).
    """
    centred = x - x.mean()
    spread = float(centred @ centred)
    if spread <= np.finfo(float).eps * len(x) * max(1.0, float(np.abs(x).max()) ** 2):
        return Figure(np.nan, np.nan, np.nan)
    value = float(centred @ y) / spread
    residuals = y - y.mean() - value * centred
    scores = np.bincount(users, weights=centred * residuals)
    error, quantile = _spread(scores, users)
    return Figure(value, value - quantile * error / spread, value + quantile * error / spread)


def _ratio(numerators: np.ndarray, denominators: np.ndarray, users: np.ndarray) -> tuple[float, float, float]:
    """Return the ratio of totals, its standard error and the quantile of Student's t for it."""
    total = denominators.sum()
    value = float(numerators.sum() / total)
    error, quantile = _spread(np.bincount(users, weights=numerators - value * denominators), users)
    return value, error / float(total), quantile


def _spread(totals: np.ndarray, users: np.ndarray) -> tuple[float, float]:
    """Return the standard error of the sum of users' totals, whose mean is zero, and the quantile for it."""
    present = int(np.count_nonzero(np.bincount(users)))
    if present < 2:
        return np.nan, np.nan
    error = float(np.sqrt(present / (present - 1) * (totals**2).sum()))
    return error, float(stats.t.ppf((1 + CONFIDENCE) / 2, present - 1))
