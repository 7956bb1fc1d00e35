"""Simple rivals which a recommender must beat; each uses only events earlier than what it predicts."""

import numpy as np
import pandas as pd

from models.catalogues import utc

WINDOW_DAYS = 90
"""A season: over it the count of rentals is the usual shop-window popularity."""

HALF_LIFE_DAYS = 60.0
"""Age at which an event counts half in the popularity by purpose."""

OVERALL_SHARE = 20.0
"""Events' worth of overall popularity mixed into each purpose, so that rare purposes are not noise."""

RENTAL_SHRINKAGE = 10.0
"""Ratings at the mean which a rental is assumed to have had already."""

USER_SHRINKAGE = 5.0
"""The same for a user."""


def popularity(history: pd.DataFrame, at: pd.Timestamp, rental_ids: np.ndarray) -> np.ndarray:
    """Count each rental's events in the ``WINDOW_DAYS`` days before ``at``; float [rentals]."""
    times = utc(history["event_timestamp"])
    recent = history[(times < at) & (times >= at - pd.Timedelta(days=WINDOW_DAYS))]
    counts = recent["rental_id"].astype(str).value_counts()
    return counts.reindex(rental_ids).fillna(0.0).to_numpy(np.float64)


def popularity_by_purpose(
    history: pd.DataFrame, at: pd.Timestamp, rental_ids: np.ndarray, purposes: pd.Series
) -> np.ndarray:
    """Decayed counts for the purpose of each request plus a share of the overall popularity.

    Returns:
        float [requests, rentals].
    """
    times = utc(history["event_timestamp"])
    earlier = history[times < at]
    age = (at - times[times < at]).dt.total_seconds().to_numpy() / 86_400
    counted = pd.DataFrame(
        {
            "rental_id": earlier["rental_id"].astype(str).to_numpy(),
            "purpose": _text(earlier["purpose"]),
            "weight": np.exp2(-age / HALF_LIFE_DAYS),
        }
    )
    overall = counted.groupby("rental_id")["weight"].sum().reindex(rental_ids).fillna(0.0).to_numpy()
    overall = OVERALL_SHARE * overall / max(overall.sum(), 1.0)
    wanted = pd.Series(_text(purposes))
    scores = np.tile(overall, (len(wanted), 1))
    for purpose, part in counted.groupby("purpose"):
        own = part.groupby("rental_id")["weight"].sum().reindex(rental_ids).fillna(0.0).to_numpy()
        scores[(wanted == purpose).to_numpy()] += own
    return scores


def earlier_bias(train: pd.DataFrame, test: pd.DataFrame) -> np.ndarray:
    """Predict ratings by mean + rental bias + user bias, from ratings of strictly earlier days only.

    Both biases are shrunk towards zero; those of a test event also see the test events of earlier days.

    Returns:
        Predicted ratings of ``test`` [events], cut to 1..5.
    """
    both = pd.concat([train, test], ignore_index=True)
    mean = train["rating"].mean()
    days = utc(both["event_timestamp"]).dt.floor("D")
    residual = both["rating"] - mean
    rental = _earlier_mean(both["rental_id"], days, residual, RENTAL_SHRINKAGE)
    user = _earlier_mean(both["user_id"], days, residual - rental, USER_SHRINKAGE)
    return np.clip(mean + rental + user, 1.0, 5.0)[len(train) :]


def _earlier_mean(keys: pd.Series, days: pd.Series, values: pd.Series, shrinkage: float) -> np.ndarray:
    frame = pd.DataFrame({"key": keys.astype(str), "day": days, "value": values})
    daily = frame.groupby(["key", "day"])["value"].agg(["sum", "count"])
    before = daily.groupby(level="key").cumsum() - daily
    wanted = pd.MultiIndex.from_frame(frame[["key", "day"]])
    found = before.reindex(wanted)
    return (found["sum"] / (found["count"] + shrinkage)).to_numpy()


def _text(values: pd.Series) -> np.ndarray:
    return values.astype(object).where(values.notna(), "").to_numpy()
