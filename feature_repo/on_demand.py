"""Features of a request: plain functions from columns to columns, the same offline and online.

Each takes lists of equal length by name, None or NaN where a value is missing, and returns lists by name.
"""

import json
import math
from collections.abc import Callable, Iterable
from typing import Any

Columns = dict[str, list[Any]]

SECONDS_PER_DAY = 86_400

AFFINITY_PRIOR_RENTALS = 2.0
"""Rentals of another kind that are added to a share's total: one rental is not yet a taste."""


def user_recency(inputs: Columns) -> Columns:
    """Whole days from the user's last rental to ``requested_at`` (seconds since 1970)."""
    return {"user_recency_days": _days(inputs, "user_last_rental_at")}


def rental_recency(inputs: Columns) -> Columns:
    """Whole days from the rental's last rental to ``requested_at`` (seconds since 1970)."""
    return {"rental_recency_days": _days(inputs, "rental_last_rental_at")}


def user_rental_match(inputs: Columns) -> Columns:
    """How well this rental fits what this user rented so far."""
    return {
        "match_category_affinity": _shares(
            inputs, "user_category_counts", "rental_category", "user_rentals_all"
        ),
        "match_size_affinity": _shares(inputs, "user_capacity_counts", "rental_capacity", "user_rentals_all"),
        "match_size_difference": _each(_difference, inputs, "rental_capacity", "user_capacity_mean"),
        "match_price_difference": _each(_difference, inputs, "rental_price", "user_price_mean"),
    }


def purpose_match(inputs: Columns) -> Columns:
    """How usual ``requested_purpose`` is for the user and for the rental."""
    return {
        "match_purpose_affinity": _shares(
            inputs, "user_purpose_counts", "requested_purpose", "user_rentals_all"
        ),
        "match_purpose_popularity": _shares(
            inputs, "rental_purpose_counts", "requested_purpose", "rental_rentals_all"
        ),
    }


def category_position(inputs: Columns) -> Columns:
    """Where the rental stands in its category: by price, and by rentals of 90 days."""
    return {
        "rental_price_position": _each(
            _standard_score, inputs, "rental_price", "category_price_mean", "category_price_deviation"
        ),
        "rental_category_share": _each(_ratio, inputs, "rental_rentals_90d", "category_rentals_90d"),
    }


def _days(inputs: Columns, last: str) -> list[float | None]:
    return _each(lambda now, then: float((now - then) // SECONDS_PER_DAY), inputs, "requested_at", last)


def _shares(inputs: Columns, counts: str, value: str, total: str) -> list[float | None]:
    return [
        _share(*row) for row in zip(inputs[counts], inputs[value], inputs[total], strict=True)
    ]  # a missing value has no share, missing counts are no rentals


def _share(counts: str | None, value: Any, total: float | None) -> float | None:
    if _missing(value):
        return None
    name = f"{value:g}" if isinstance(value, float) else value
    number = 0 if _missing(counts) or counts is None else json.loads(counts).get(name, 0)
    return number / ((0.0 if _missing(total) or total is None else total) + AFFINITY_PRIOR_RENTALS)


def _difference(first: float, second: float) -> float:
    return first - second


def _standard_score(value: float, mean: float, deviation: float) -> float | None:
    return (value - mean) / deviation if deviation > 0 else None


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def _each(function: Callable[..., float | None], inputs: Columns, *names: str) -> list[float | None]:
    rows: Iterable[tuple[Any, ...]] = zip(*(inputs[name] for name in names), strict=True)
    return [None if any(_missing(value) for value in row) else function(*row) for row in rows]


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
