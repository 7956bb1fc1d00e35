"""What the precomputing flow composes: the inputs of all users, and the version that recommends to them."""

import re
from typing import TYPE_CHECKING

import pandas as pd

from feature_repo import lake
from feature_repo.names import RECOMMENDER_REQUEST_FEATURES
from feature_repo.settings import FeatureSettings

if TYPE_CHECKING:
    from models.precompute import Precomputed


def user_inputs(features: FeatureSettings) -> pd.DataFrame:
    """Every user of the lake as the model takes one, with the features as of the end of the history.

    They come by the point-in-time join that makes training sets. Nobody says what for, so purpose and
    size are missing. Where nothing happened to a user yet, counts are 0, as for a request.

    Raises:
        LakeError: the lake has no features, or no users.
    """
    from feature_repo import history, spark, store

    at = history.as_of(features)
    users = lake.read(features.lake, "users", at)["user_id"]
    if users.empty:
        raise lake.LakeError(f"no user joined before {at:%Y-%m-%d}: run `make features` with later ratings")
    spark.session(features)
    requests = pd.DataFrame({"request_id": users, "user_id": users, "purpose": "", "event_timestamp": at})
    joined = store.features_as_of(store.open_store(features), requests)
    initial = {each.name: each.initial for each in RECOMMENDER_REQUEST_FEATURES if each.initial is not None}
    joined = joined.fillna(initial).sort_values("user_id", ignore_index=True)
    return joined[["user_id", *(feature.name for feature in RECOMMENDER_REQUEST_FEATURES)]].assign(
        purpose="", size=""
    )


def precompute_version(users: pd.DataFrame, version: int | None) -> "tuple[int, Precomputed]":
    """Write every user's best rentals by a registered version; the champion for None.

    Returns:
        The version and what was done.

    Raises:
        RegistryError: there is no such version, or no champion yet.
        RecommendationTableError: a later set was published meanwhile.
    """
    from models.precompute import BestRentals, precompute
    from models.recommendation_table import RecommendationTable
    from models.registry import Registry
    from models.settings import ModelSettings

    settings, registry = ModelSettings(), Registry()
    model = registry.get(version) if version else registry.champion()
    best = BestRentals(model.path.read_bytes(), settings.recommendations_per_user)
    table = RecommendationTable(settings.recommendations)
    return model.version, precompute(users, best, str(model.version), table, settings.recommendations_block)


def place() -> str:
    """Where the recommendations are, without a password."""
    from models.settings import ModelSettings

    return re.sub("//[^/@]*@", "//", ModelSettings().recommendations)
