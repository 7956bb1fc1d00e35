"""Features of a request: plain functions from columns to columns, the same offline and online.

Each takes lists of equal length by name, None or NaN where a value is missing, and returns lists by name.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

from feature_repo.views import size_label

Columns = dict[str, list[Any]]

SECONDS_PER_DAY = 86_400

AFFINITY_PRIOR_RENTALS = 2.0
"""Rentals of another kind that are added to a share's total: one rental is not yet a taste."""

CLOCK_TOLERANCE_SECONDS = 300
"""How far the clock of who asks may be behind that of who rented; well-kept clocks differ by less."""


class RequestFeatureError(ValueError):
    """A stored value is not what its feature promises; the message names the remedy."""


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
    return _each(_whole_days, inputs, "requested_at", last)


def _whole_days(now: float, then: float) -> float | None:
    """Days from ``then`` to ``now``; None if what is stored is of a later time than the one asked for."""
    if now < then - CLOCK_TOLERANCE_SECONDS:
        return None
    return float(max(now - then, 0.0) // SECONDS_PER_DAY)


def _shares(inputs: Columns, counts: str, value: str, total: str) -> list[float | None]:
    rows = zip(inputs[counts], inputs[value], inputs[total], strict=True)
    return [_share(counts, *row) for row in rows]


def _share(column: str, counts: str | None, value: Any, total: float | None) -> float | None:
    """A missing value has no share; missing counts are no rentals."""
    if _missing(value):
        return None
    label = value if isinstance(value, str) else size_label(value)
    number = 0 if counts is None or _missing(counts) else _count(column, counts, label)
    return number / ((0.0 if total is None or _missing(total) else total) + AFFINITY_PRIOR_RENTALS)


def _count(column: str, counts: str, label: str) -> int:
    try:
        number = json.loads(counts).get(label, 0)
    except (AttributeError, RecursionError, ValueError):
        number = None
    if type(number) is not int or number < 0:
        raise RequestFeatureError(
            f"{column} is not JSON from value to count: {counts[:80]!r}; compute the view's features again, "
            "or push a right value"
        )
    return number


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
    return value is None or value != value  # NaN of any width is unlike itself
