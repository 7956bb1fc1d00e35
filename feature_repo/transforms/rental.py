"""Rental features: listing attributes and activity, as of each day on which one of them changes."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from feature_repo.names import RENTAL_FEATURES
from feature_repo.transforms.activity import day_of, midnight_of, timeline, typed, with_activity


def rental_features(rentals: DataFrame, ratings: DataFrame, until_day: int) -> DataFrame:
    """Return the history of ``names.RENTAL_FEATURES``: ``rental_id``, ``event_timestamp`` and the features.

    Args:
        rentals: the lake's ``rentals``.
        ratings: the lake's ``ratings`` before ``until_day``.
        until_day: last day (since 1970) that gets a row.
    """
    listing = rentals.select("rental_id", "price", "category", "area", "capacity")
    events = ratings.join(listing, "rental_id", "left").withColumn("day", day_of("event_timestamp"))
    starts = rentals.select("rental_id", day_of("listed_at").alias("day")).unionByName(
        events.groupBy("rental_id").agg(F.min("day").alias("day"))
    )
    rows = timeline(events, starts, "rental_id", until_day).drop("categories", "purposes")
    rows = with_activity(rows, "rental_id", "rental").where("is_change")
    attributes = listing.withColumnsRenamed(
        {name: f"rental_{name}" for name in ("price", "category", "area", "capacity")}
    )
    rows = rows.withColumn("event_timestamp", midnight_of("day")).join(attributes, "rental_id", "left")
    return rows.select(
        "rental_id", "event_timestamp", *[typed(feature.name, feature.kind) for feature in RENTAL_FEATURES]
    )
