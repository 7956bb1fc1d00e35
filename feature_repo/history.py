"""The feature job: from the lake's tables to the history of user and rental features."""

from typing import TYPE_CHECKING

import pandas as pd

from feature_repo.lake import replacing
from feature_repo.names import RENTAL_VIEW, USER_VIEW
from feature_repo.settings import FeatureSettings
from feature_repo.spark import session

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def compute(settings: FeatureSettings, until: pd.Timestamp) -> dict[str, int]:
    """Compute the feature history up to ``until`` (UTC) from ratings before it, and put it into the lake.

    Returns:
        Rows of each feature table.
    """
    from feature_repo.transforms.rental import rental_features
    from feature_repo.transforms.user import user_features

    spark = session(settings)

    def table(name: str, time: str) -> "DataFrame":
        return spark.read.parquet(str(settings.lake / name)).where(f"{time} < '{until:%Y-%m-%d %H:%M:%S}'")

    users, rentals = table("users", "joined_at"), table("rentals", "listed_at")
    ratings = table("ratings", "event_timestamp").select(
        "user_id", "rental_id", "rating", "purpose", "event_timestamp"
    )
    until_day = (until.tz_convert("UTC") - pd.Timestamp(0, tz="UTC")).days
    histories = {
        USER_VIEW: user_features(users, rentals, ratings, until_day),
        RENTAL_VIEW: rental_features(rentals, ratings, until_day),
    }
    rows = {}
    for name, history in histories.items():
        with replacing(settings.lake / name) as folder:
            history.write.parquet(str(folder))
            rows[name] = spark.read.parquet(str(folder)).count()
    return rows
