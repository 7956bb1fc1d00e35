"""What the monitoring flow compares: the champion's training ratings, and those that arrived after."""

from dataclasses import dataclass

import pandas as pd

from feature_repo import lake
from feature_repo.settings import FeatureSettings
from monitoring.distribution import Kind
from monitoring.drift_report import DriftReport

WATCHED: dict[str, Kind] = {
    "rating": "numeric",
    "purpose": "categorical",
    "category": "categorical",
    "area": "categorical",
    "price": "numeric",
    "capacity": "numeric",
    "segment": "categorical",
    "age": "numeric",
    "height_cm": "numeric",
    "weight_kg": "numeric",
}
"""What is compared: the rating, what was rented, why, and by whom."""


class NothingToCompareError(lake.LakeError):
    """No rating has arrived since the champion's training."""


@dataclass(frozen=True)
class Periods:
    """Ratings with the attributes of their user and rental, known before and since ``border``."""

    reference: pd.DataFrame
    current: pd.DataFrame
    border: pd.Timestamp

    def unlisted_share(self, catalogue_of: pd.Timestamp) -> float:
        """Share of the current ratings whose rental was listed from ``catalogue_of`` on."""
        return float((self.current["listed_at"] >= catalogue_of).mean())

    def __str__(self) -> str:
        """The two periods in words."""
        return (
            f"ratings known before {self.border:%Y-%m-%d} (the champion's training) against those that "
            f"arrived from then to {self.current['arrived_at'].max():%Y-%m-%d}"
        )


def periods(settings: FeatureSettings, border: pd.Timestamp, until: pd.Timestamp) -> Periods:
    """Read the ratings that arrived before ``border`` and those in ``[border, until)`` from the lake.

    Raises:
        NothingToCompareError: there is no rating in the second period.
        LakeError: there is none in the first one, or a table is missing.
    """
    ratings = lake.read(settings.lake, "ratings", until)
    rows = ratings.merge(lake.read(settings.lake, "rentals"), on="rental_id", how="left")
    rows = rows.merge(lake.read(settings.lake, "users"), on="user_id", how="left")
    earlier = rows["arrived_at"] < border
    if earlier.all():
        raise NothingToCompareError(
            f"no rating has arrived since {border:%Y-%m-%d}, the end of the champion's training: there is "
            "nothing new to compare; `make features` brings new ratings"
        )
    if not earlier.any():
        raise lake.LakeError(
            f"the lake holds no rating of before {border:%Y-%m-%d}, on which the champion was trained: set "
            "RENTALS_HOME to the home in which it was, or train another one by `make train`"
        )
    return Periods(reference=rows[earlier], current=rows[~earlier], border=border)


def drift(compared: Periods) -> DriftReport:
    """Compare the two periods in their season.

    The ratings of one user count as clustered, new ones are named by their id.
    """
    from monitoring.season import compare_in_season

    known = {
        name: kind
        for name, kind in WATCHED.items()
        if compared.reference[name].notna().any() or compared.current[name].notna().any()
    }
    reference, current = (each.set_index("rating_id") for each in (compared.reference, compared.current))
    return compare_in_season(reference, current, known, time="arrived_at", cluster="user_id")
