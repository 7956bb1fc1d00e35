"""The most popular rentals by purpose, for the API to answer with where no predictor answers."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from feature_repo import lake
from feature_repo.settings import FeatureSettings

LISTED = 500
"""Rentals of each purpose: a hundred at most are asked for, and filters leave some of these."""

MOST_PURPOSES = 100
"""Purposes that have a list of their own, the most frequent ones; the others get the list of all."""

ATTRIBUTES = ("category", "area", "price")
"""By these the API filters."""


def write_popularity(settings: FeatureSettings, until: pd.Timestamp) -> Path:
    """Rank the rentals by what was rented before ``until``, and write the lists to ``popularity.json``.

    The ranking is that of ``models.baselines.popularity_by_purpose``; the predicted rating is the rental's
    mean, shrunk to that of all.

    Args:
        settings: where the lake is.
        until: the ratings that were known before it count.
    """
    from serving.files import replace_json
    from serving.settings import ServingSettings

    ratings = lake.read(settings.lake, "ratings", until)
    rentals = lake.read(settings.lake, "rentals", until).drop_duplicates("rental_id", keep="last")
    document = {"as_of": until.isoformat(), "rankings": rankings(ratings, rentals, until)}
    path = ServingSettings(home=settings.home).popularity
    replace_json(path, document)
    return path


def rankings(
    ratings: pd.DataFrame, rentals: pd.DataFrame, until: pd.Timestamp
) -> dict[str, list[dict[Hashable, Any]]]:
    """Return the ``LISTED`` most popular rentals by purpose, best first; "" is for requests without one."""
    from models.baselines import RENTAL_SHRINKAGE, popularity_by_purpose

    ids = rentals["rental_id"].astype(str).to_numpy()
    found = ratings.groupby(ratings["rental_id"].astype(str))["rating"].agg(["sum", "count"]).reindex(ids)
    mean = ratings["rating"].mean()
    shrunk = (found["sum"].fillna(0) + RENTAL_SHRINKAGE * mean) / (
        found["count"].fillna(0) + RENTAL_SHRINKAGE
    )
    rows = rentals[list(ATTRIBUTES)].astype(object)
    rows = rows.where(rows.notna(), None).assign(rental_id=ids, predicted_rating=shrunk.to_numpy())
    purposes = pd.Series(["", *ratings["purpose"].value_counts().index[:MOST_PURPOSES]], dtype=object)
    scores = popularity_by_purpose(ratings, until, ids, purposes)
    # Who names no purpose gets what all take: the sum over the purposes.
    scores[0] = popularity_by_purpose(ratings.assign(purpose=""), until, ids, purposes[:1])[0]
    lists = {}
    for purpose, score in zip(purposes, scores, strict=True):
        best = np.argsort(-score, kind="stable")[:LISTED]
        lists[purpose] = rows.iloc[best].assign(score=score[best]).to_dict("records")
    return lists
