"""From running sums to the stored features of a view, column by column."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from feature_repo.names import TRENDS, VIEWS
from feature_repo.transforms.running import (
    AMOUNT_RESOLUTION,
    MEASURES,
    NEVER,
    PER_MEASURE,
    PER_SPAN,
    RATING_RESOLUTION,
    SPANS,
    Rows,
)
from feature_repo.views import View

MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Prior:
    """What is assumed before anything is known, as so many ratings of that mean."""

    mean: float
    weight: float


RATING_PRIOR = Prior(mean=4.0, weight=5.0)
"""Ratings of what people paid for are high: four stars. Five of them weigh as much as the first five of one's
own, so that a single bad rating moves a rental by half a star and not to the end of the list."""

STEADY_RATE = 1 / 365
"""Rentals a day that are added to both rates of a trend: one a year, so that a trend of nothing is steady."""


def columns(view: View, rows: Rows) -> dict[str, np.ndarray]:
    """Return the features of ``view`` that follow from the sums, by name; NaN or None where unknown.

    Names are those of ``names.VIEWS``; a profile's columns are not among them.
    """
    prefix = view.prefix
    found: dict[str, np.ndarray] = {}
    rates = {}
    for index, span in enumerate(SPANS):
        name = "all" if span is None else f"{span}d"
        count, total, squares = rows.totals[:, index * len(PER_SPAN) : (index + 1) * len(PER_SPAN)].T
        found[f"{prefix}_rentals_{name}"] = count
        mean, deviation = _mean_and_deviation(count, total, squares, RATING_RESOLUTION)
        found[f"{prefix}_rating_mean_{name}"] = mean
        found[f"{prefix}_rating_deviation_{name}"] = deviation
        found[f"{prefix}_rating_shrunk_{name}"] = (
            total / RATING_RESOLUTION + RATING_PRIOR.mean * RATING_PRIOR.weight
        ) / (count + RATING_PRIOR.weight)
        if span is not None:
            rates[span] = count / span + STEADY_RATE
    for short, long in TRENDS:
        found[f"{prefix}_trend_{short}d_{long}d"] = rates[short] / rates[long]
    last = np.where(rows.last_at == NEVER, np.nan, rows.last_at / MICROSECONDS)
    found[f"{prefix}_last_rental_at"] = last
    for index, measure in enumerate(MEASURES):
        start = len(SPANS) * len(PER_SPAN) + index * len(PER_MEASURE)
        found[f"{prefix}_{measure}_mean"], found[f"{prefix}_{measure}_deviation"] = _mean_and_deviation(
            rows.totals[:, start], rows.totals[:, start + 1], rows.totals[:, start + 2], AMOUNT_RESOLUTION
        )
    for index, attribute in enumerate(view.counted):
        counted = rows.counted[index]
        found[f"{prefix}_{attribute}_counts"] = counted.counts
        found[f"{prefix}_favourite_{attribute}"] = counted.favourite
        if attribute == "category":
            found[f"{prefix}_categories"] = counted.distinct
    found[f"{prefix}_recent_rentals"] = rows.recent
    wanted = {feature.name for feature in VIEWS[view.name]}
    return {name: values for name, values in found.items() if name in wanted}


def _mean_and_deviation(
    count: np.ndarray, total: np.ndarray, squares: np.ndarray, resolution: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population standard deviation, NaN of nothing."""
    number = np.where(count > 0, count, np.nan)
    mean = total / number
    # The variance of few equal values may come out a rounding error below zero.
    variance = np.maximum(squares / number - mean * mean, 0.0)
    return mean / resolution, np.sqrt(variance) / resolution


ARROW_TYPES = {
    "numeric": pa.float32(),
    "time": pa.float64(),
    "categorical": pa.string(),
    "counts": pa.string(),
    "list": pa.string(),
}
"""Types in which features are stored, by kind."""


def table(view: View, rows: Rows) -> pa.Table:
    """Return ``key``, ``at`` (microseconds since 1970) and the features that follow from the sums."""
    kinds = {feature.name: feature.kind for feature in VIEWS[view.name]}
    found = columns(view, rows)
    return pa.table(
        {
            "key": pa.array(rows.key, pa.string()),
            "at": pa.array(rows.at, pa.int64()),
            **{
                name: pa.array(values, from_pandas=True).cast(ARROW_TYPES[kinds[name]], safe=False)
                for name, values in found.items()
            },
        }
    )
