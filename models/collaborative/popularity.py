"""What is chosen by many, at all times or of late."""

from dataclasses import dataclass

import numpy as np

from models.collaborative.interactions import Interactions

MOMENTS = 200
"""Moments at which the popularity of the time is counted; a user takes the one of his last event."""


@dataclass(frozen=True)
class Popularity:
    """Scores that depend on the user by one code at most."""

    counts: np.ndarray
    """float [moments, items]."""

    moment: np.ndarray
    """Row of ``counts`` for each user, int64 [users]."""

    def scores(self, users: np.ndarray) -> np.ndarray:
        """Return scores of all items, float [users, items]."""
        return self.counts[self.moment[users]]


def fit_popularity(events: Interactions) -> Popularity:
    """Count the users of each item."""
    return Popularity(events.item_counts[None, :], np.zeros(events.user_count, dtype=np.int64))


def fit_trend(events: Interactions, half_life: float) -> Popularity:
    """Count each item's events before the user's last one, the latest weighing most, as a logarithm.

    Users without events take the end of the data.

    Args:
        events: with times.
        half_life: age at which an event weighs half, as a share of the span of the times.

    Raises:
        ValueError: the events have no times.
    """
    if events.times is None:
        raise ValueError("the popularity of a time needs events with times")
    first, last = events.times.min(), events.times.max()
    age = (events.times - first) / max(last - first, 1.0)
    latest = np.full(events.user_count, -1.0)
    np.maximum.at(latest, events.users, age)
    latest[latest < 0] = 1.0
    moments = np.unique(np.quantile(latest, np.linspace(0, 1, MOMENTS + 1), method="higher"))
    row = np.searchsorted(moments, age)
    counts = np.zeros((len(moments), events.item_count))
    known = row < len(moments)
    weights = np.exp2((age[known] - moments[row[known]]) / half_life)
    np.add.at(counts, (row[known], events.items[known]), weights)
    for step in range(1, len(moments)):
        counts[step] += counts[step - 1] * np.exp2((moments[step - 1] - moments[step]) / half_life)
    uniform = counts.sum(axis=1, keepdims=True) / events.item_count
    scores = np.log(counts + SMOOTHING * uniform + np.finfo(float).tiny)
    return Popularity(scores.astype(np.float32), np.searchsorted(moments, latest))


SMOOTHING = 0.1
"""Share of the mean count that each item has without events, so that rare ones are not far below."""
