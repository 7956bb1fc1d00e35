"""What ``feast apply`` registers: entities, views on the Spark histories, on-demand views, and services."""

from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from feast import Entity, FeatureService, FeatureView, Field, PushSource, RequestSource, ValueType
from feast.feature_view_projection import FeatureViewProjection
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.transformation.python_transformation import PythonTransformation
from feast.types import Float32, Float64, PrimitiveFeastType, String

from feature_repo import on_demand
from feature_repo.names import (
    CATEGORY_VIEW,
    FEATURE_SERVICE,
    MARKETPLACE_SERVICE,
    ON_DEMAND_VIEWS,
    OWNER,
    PURPOSE_VIEW,
    RECOMMENDER_PURPOSE_FEATURES,
    RECOMMENDER_RENTAL_FEATURES,
    RECOMMENDER_USER_FEATURES,
    RENTAL_VIEW,
    USER_VIEW,
    VIEWS,
    Feature,
)
from feature_repo.settings import FeatureSettings

NEVER_STALE = timedelta(0)
"""A user who comes back after years is still known by the last features: a row holds until the next one."""

TYPES: dict[str, PrimitiveFeastType] = {
    "numeric": Float32,
    "time": Float64,
    "categorical": String,
    "counts": String,
    "list": String,
}


def _entity(name: str, key: str, description: str) -> Entity:
    return Entity(
        name=name, join_keys=[key], value_type=ValueType.STRING, description=description, owner=OWNER
    )


user = _entity("user", "user_id", "a person who rents")
rental = _entity("rental", "rental_id", "a thing that is rented")
category = _entity("category", "category", "a kind of rental")
purpose = _entity("purpose", "purpose", "what something is rented for")


def _field(feature: Feature) -> Field:
    tags = {"kind": feature.kind, "unit": feature.unit, "validity": feature.validity}
    if feature.initial is not None:
        tags["initial"] = f"{feature.initial:g}"
    return Field(name=feature.name, dtype=TYPES[feature.kind], description=feature.description, tags=tags)


def _history(lake: Path, view: str) -> str:
    return str(lake / view)


def _view(name: str, entity: Entity, description: str) -> FeatureView:
    history = SparkSource(
        name=f"{name}_history",
        path=_history(FeatureSettings().lake, name),
        file_format="parquet",
        timestamp_field="event_timestamp",
    )
    return FeatureView(
        name=name,
        entities=[entity],
        ttl=NEVER_STALE,
        schema=[Field(name=entity.join_key, dtype=String), *[_field(f) for f in VIEWS[name]]],
        source=PushSource(name=f"{name}_push", batch_source=history),
        description=description,
        owner=OWNER,
    )


user_view = _view(USER_VIEW, user, "profile, activity and tastes of a user")
rental_view = _view(RENTAL_VIEW, rental, "listing and activity of a rental")
category_view = _view(CATEGORY_VIEW, category, "activity and prices of a category")
purpose_view = _view(PURPOSE_VIEW, purpose, "activity of a purpose")

request_time = RequestSource(
    name="request_time",
    schema=[Field(name="requested_at", dtype=Float64)],
    description="seconds since 1970 at which the features are asked for",
)
request_purpose = RequestSource(
    name="request_purpose",
    schema=[Field(name="requested_purpose", dtype=String)],
    description="what the user looks for",
)


class _DeclaredTransformation(PythonTransformation):
    """A function whose features are declared: Feast would infer them from texts that are no counts."""

    declared: list[Field]

    def infer_features(self, random_input: dict[str, Any], singleton: bool | None = False) -> list[Field]:
        """Return those declared features which the function really returns."""
        given = self.udf({name: [] for name in random_input})
        return [field for field in self.declared if field.name in given]


def _on_demand(
    name: str, sources: list[FeatureView | FeatureViewProjection | RequestSource], description: str
) -> OnDemandFeatureView:
    """The view of ``on_demand.NAME``; ``sources`` hold exactly the columns that the function reads."""
    # Feast's registry forgets what is said about the fields of these views: it is told with the view.
    features = ON_DEMAND_VIEWS[name]
    declared = [Field(name=feature.name, dtype=Float64) for feature in features]
    transformation = _DeclaredTransformation(
        udf=getattr(on_demand, name), udf_string=f"feature_repo.on_demand.{name}"
    )
    transformation.declared = declared
    return OnDemandFeatureView(
        name=name,
        sources=sources,
        schema=declared,
        feature_transformation=transformation,
        mode="python",
        description=description,
        tags={f.name: f"{f.description} ({f.unit}, valid {f.validity})" for f in features},
        owner=OWNER,
    )


on_demand_views = [
    _on_demand(
        "user_recency",
        [user_view[["user_last_rental_at"]], request_time],
        "time since the user's last rental",
    ),
    _on_demand(
        "rental_recency",
        [rental_view[["rental_last_rental_at"]], request_time],
        "time since the rental's last rental",
    ),
    _on_demand(
        "user_rental_match",
        [
            user_view[
                [
                    "user_rentals_all",
                    "user_price_mean",
                    "user_capacity_mean",
                    "user_category_counts",
                    "user_capacity_counts",
                ]
            ],
            rental_view[["rental_price", "rental_capacity", "rental_category"]],
        ],
        "how a rental fits a user",
    ),
    _on_demand(
        "purpose_match",
        [
            user_view[["user_rentals_all", "user_purpose_counts"]],
            rental_view[["rental_rentals_all", "rental_purpose_counts"]],
            request_purpose,
        ],
        "how a purpose fits both",
    ),
    _on_demand(
        "category_position",
        [
            rental_view[["rental_price", "rental_rentals_90d"]],
            category_view[["category_price_mean", "category_price_deviation", "category_rentals_90d"]],
        ],
        "a rental within its category",
    ),
]
_by_name = {view.name: view for view in on_demand_views}


def _columns(features: tuple[Feature, ...], view: FeatureView) -> list[str]:
    stored = {feature.name for feature in VIEWS[view.name]}
    return [feature.name for feature in features if feature.name in stored]


recommender_service = FeatureService(
    name=FEATURE_SERVICE,
    features=[
        user_view[_columns(RECOMMENDER_USER_FEATURES, user_view)],
        rental_view[_columns(RECOMMENDER_RENTAL_FEATURES, rental_view)],
        purpose_view[_columns(RECOMMENDER_PURPOSE_FEATURES, purpose_view)],
        _by_name["user_recency"],
        _by_name["rental_recency"],
    ],
    description="what the recommender is trained on and served with",
    owner=OWNER,
)
marketplace_service = FeatureService(
    name=MARKETPLACE_SERVICE,
    features=[user_view, rental_view, category_view, purpose_view, *on_demand_views],
    description="every feature there is",
    owner=OWNER,
)

entities = [user, rental, category, purpose]
views = [user_view, rental_view, category_view, purpose_view]
services = [recommender_service, marketplace_service]


def read_from(lake: Path) -> None:
    """Let the views read their histories in ``lake``, instead of that of the environment at the import."""
    for view in views:
        # Feast's type of a view's source does not say that it is Spark's.
        cast(SparkSource, view.batch_source).spark_options.path = _history(lake, view.name)
