"""What ``feast apply`` registers: entities, feature views on the Spark histories, and the feature service."""

from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, ValueType
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.types import Float32, String

from feature_repo.names import (
    FEATURE_SERVICE,
    RENTAL_FEATURES,
    RENTAL_VIEW,
    USER_FEATURES,
    USER_VIEW,
    Feature,
)
from feature_repo.settings import FeatureSettings

OWNER = "recommendations"
NEVER_STALE = timedelta(0)
"""A user who comes back after years is still known by the last features."""

user = Entity(
    name="user", join_keys=["user_id"], value_type=ValueType.STRING, description="a person who rents"
)
rental = Entity(
    name="rental", join_keys=["rental_id"], value_type=ValueType.STRING, description="a thing that is rented"
)


def _view(name: str, entity: Entity, features: tuple[Feature, ...], description: str) -> FeatureView:
    return FeatureView(
        name=name,
        entities=[entity],
        ttl=NEVER_STALE,
        schema=[
            Field(name=entity.join_key, dtype=String),
            *(
                Field(
                    name=feature.name,
                    dtype=Float32 if feature.kind == "numeric" else String,
                    description=feature.description,
                )
                for feature in features
            ),
        ],
        source=SparkSource(
            name=f"{name}_history",
            path=str(FeatureSettings().lake / name),
            file_format="parquet",
            timestamp_field="event_timestamp",
        ),
        description=description,
        owner=OWNER,
    )


user_view = _view(USER_VIEW, user, USER_FEATURES, "profile, activity and tastes of a user, from earlier days")
rental_view = _view(
    RENTAL_VIEW, rental, RENTAL_FEATURES, "listing and activity of a rental, from earlier days"
)

recommender_service = FeatureService(
    name=FEATURE_SERVICE,
    features=[user_view, rental_view],
    description="what the recommender is trained on and served with",
    owner=OWNER,
)
