"""The feature job: from the lake's tables to the history of user and rental features."""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from feature_repo.lake import LakeError, replacing
from feature_repo.names import RENTAL_VIEW, USER_VIEW
from feature_repo.settings import FeatureSettings
from feature_repo.spark import session

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def compute(settings: FeatureSettings, until: pd.Timestamp) -> dict[str, int]:
    """Compute the feature history up to ``until`` (UTC) from ratings before it, and put it into the lake.

    While it works, and after a failure, ``as_of`` says that there are no features: the two views are never
    of different days.

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
    _mark(settings).unlink(missing_ok=True)
    for name, history in histories.items():
        with replacing(settings.lake / name) as folder:
            history.write.parquet(str(folder))
            rows[name] = spark.read.parquet(str(folder)).count()
    _mark(settings).write_text(until.isoformat())
    return rows


def as_of(settings: FeatureSettings) -> pd.Timestamp:
    """The time up to which the features of the lake are computed: later ratings are not in them.

    Raises:
        LakeError: there are none, or their computation did not end.
    """
    mark = _mark(settings)
    if not mark.is_file():
        raise LakeError(f"the lake at {settings.lake} has no features: run `make features`")
    return pd.Timestamp(mark.read_text())


def _mark(settings: FeatureSettings) -> Path:
    return settings.lake / "FEATURES_AS_OF"
