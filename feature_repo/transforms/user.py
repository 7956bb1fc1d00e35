"""User features: profile, activity and tastes, as of each day on which one of them changes."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from feature_repo.names import USER_FEATURES
from feature_repo.transforms.activity import day_of, earlier_days, midnight_of, timeline, typed, with_activity


def most_frequent(values: str) -> Column:
    """The most frequent element of an array column; the alphabetically last one of a tie, null if empty."""
    return F.expr(
        f"array_max(transform(array_distinct({values}),"
        f" one -> struct(size(filter({values}, other -> other = one)) AS times, one AS value))).value"
    )


def user_features(users: DataFrame, rentals: DataFrame, ratings: DataFrame, until_day: int) -> DataFrame:
    """Return the history of ``names.USER_FEATURES``: ``user_id``, ``event_timestamp`` and the features.

    Args:
        users: the lake's ``users``.
        rentals: the lake's ``rentals``.
        ratings: the lake's ``ratings`` before ``until_day``.
        until_day: last day (since 1970) that gets a row.
    """
    attributes = rentals.select("rental_id", "price", "category")
    events = ratings.join(attributes, "rental_id", "left").withColumn("day", day_of("event_timestamp"))
    starts = users.select("user_id", day_of("joined_at").alias("day")).unionByName(
        events.groupBy("user_id").agg(F.min("day").alias("day"))
    )
    rows = with_activity(timeline(events, starts, "user_id", until_day), "user_id", "user")
    before = earlier_days("user_id")
    rows = rows.withColumns(
        {
            "past_categories": F.flatten(F.collect_list("categories").over(before)),
            "past_purposes": F.flatten(F.collect_list("purposes").over(before)),
            "user_price_mean": (
                F.sum("price_sum").over(before) / F.nullif(F.sum("prices").over(before), F.lit(0))
            ),
        }
    ).where("is_change")
    profile = users.select(
        "user_id",
        F.col("age").alias("user_age"),
        F.col("height_cm").alias("user_height_cm"),
        F.col("weight_kg").alias("user_weight_kg"),
        F.col("segment").alias("user_segment"),
    )
    rows = rows.withColumns(
        {
            "user_categories": F.size(F.array_distinct("past_categories")),
            "user_favourite_category": most_frequent("past_categories"),
            "user_favourite_purpose": most_frequent("past_purposes"),
            "event_timestamp": midnight_of("day"),
        }
    ).join(profile, "user_id", "left")
    return rows.select(
        "user_id", "event_timestamp", *[typed(feature.name, feature.kind) for feature in USER_FEATURES]
    )
