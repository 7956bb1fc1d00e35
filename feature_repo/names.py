"""The features by name: the one list that definitions, training and serving share.

It imports nothing heavy, so that whoever needs only names does not pay for Feast or Spark.
"""

from dataclasses import dataclass
from typing import Literal

FEATURE_SERVICE = "recommender_v1"
USER_VIEW = "user_features"
RENTAL_VIEW = "rental_features"

WINDOW_DAYS = (30, 90, 365)
"""Lengths of the activity windows: a month, a season, a year."""


@dataclass(frozen=True)
class Feature:
    """One column of a feature view."""

    name: str
    kind: Literal["numeric", "categorical"]
    description: str
    initial: float | None = None
    """Value of an entity to which nothing has happened yet: a count is then 0, not unknown."""


def _numeric(name: str, description: str, initial: float | None = None) -> Feature:
    return Feature(name, "numeric", description, initial)


def _categorical(name: str, description: str) -> Feature:
    return Feature(name, "categorical", description)


def _activity(entity: str, events: str) -> tuple[Feature, ...]:
    """Counts, rating means and recency, each over the days *before* the feature's timestamp."""
    counts = [
        _numeric(f"{entity}_rentals_{d}d", f"{events} in the {d} days before", 0.0) for d in WINDOW_DAYS
    ]
    means = [
        _numeric(f"{entity}_rating_mean_{d}d", f"mean rating (1..5), {d} days before") for d in WINDOW_DAYS
    ]
    return (
        *counts,
        _numeric(f"{entity}_rentals_all", f"{events} ever before", 0.0),
        *means,
        _numeric(f"{entity}_rating_mean_all", "mean rating (1..5) of all time before"),
        _numeric(f"{entity}_recency_days", "days since the last rental, as of the feature's timestamp"),
    )


USER_FEATURES = (
    _numeric("user_age", "age in years, from the profile"),
    _numeric("user_height_cm", "height in centimetres, from the profile"),
    _numeric("user_weight_kg", "weight in kilograms, from the profile"),
    _categorical("user_segment", "segment of the profile, such as the body type"),
    *_activity("user", "rentals by the user"),
    _numeric("user_price_mean", "mean price of the user's rentals before"),
    _numeric("user_categories", "number of different categories rented before", 0.0),
    _categorical("user_favourite_category", "category rented most often before"),
    _categorical("user_favourite_purpose", "purpose named most often before"),
)

RENTAL_FEATURES = (
    _numeric("rental_price", "price of the rental"),
    _numeric("rental_capacity", "how many people (or which size) the rental fits"),
    _categorical("rental_category", "category of the rental"),
    _categorical("rental_area", "area in which the rental is offered"),
    *_activity("rental", "times the rental was rented"),
)
