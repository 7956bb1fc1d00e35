"""The features by name: the one list that definitions, training and serving share.

It imports nothing heavy, so that whoever needs only names does not pay for Feast or Spark.
"""

from dataclasses import dataclass
from typing import Literal

FEATURE_SERVICE = "recommender_v3"
"""What the recommender is trained on and served with."""

MARKETPLACE_SERVICE = "marketplace_v1"
"""Every feature there is, for analyses and other models."""

USER_VIEW = "user_features"
RENTAL_VIEW = "rental_features"
CATEGORY_VIEW = "category_features"
PURPOSE_VIEW = "purpose_features"

WINDOW_DAYS = (7, 30, 90, 365)
"""Lengths of the activity windows: a week, a month, a season, a year."""

TRENDS = ((7, 30), (30, 365))
"""Short windows and the long ones that they are compared with: this week's rush, this month's fashion."""

RECENT_RENTALS = 10
"""Length of the list of a user's last rentals: before 95 % of the ratings in Rent the Runway there are no
more."""

OWNER = "recommendations"

PROFILE = "until the profile or listing is edited"
ALL_TIME = "until the next rental"
REQUEST = "for one request"


@dataclass(frozen=True)
class Feature:
    """One feature, as the catalogue shows it."""

    name: str
    kind: Literal["numeric", "categorical", "counts", "list", "time"]
    """``counts`` is JSON text from value to count, ``list`` JSON text of values; ``time`` is seconds since
    1970."""

    description: str
    unit: str
    validity: str
    """How long a value holds."""

    initial: float | None = None
    """Value of an entity to which nothing has happened yet: a count is then 0, not unknown."""


def _activity(entity: str, events: str) -> tuple[Feature, ...]:
    """Counts, rating statistics, trends and the last rental: of what was known before the timestamp."""
    windows = [
        *((f"{days}d", f"of the last {days} days", f"until a rental enters or leaves {days} days")
          for days in WINDOW_DAYS),
        ("all", "of all time", ALL_TIME),
    ]  # fmt: skip
    return (
        *(
            Feature(f"{entity}_rentals_{name}", "numeric", f"{events} {when}", "rentals", validity, 0.0)
            for name, when, validity in windows
        ),
        *(
            Feature(f"{entity}_rating_{statistic}_{name}", "numeric", f"{text} of the ratings {when}", 
                    "1..5 stars", validity)
            for statistic, text in (
                ("mean", "mean"),
                ("deviation", "standard deviation (population)"),
                ("shrunk", "mean, drawn towards the prior of a few ratings,"),
            )
            for name, when, validity in windows
        ),
        *(
            Feature(f"{entity}_trend_{short}d_{long}d", "numeric",
                    f"rentals a day in {short} days over those in {long} days; 1 is steady", "ratio",
                    f"until a rental enters or leaves {long} days", 1.0)
            for short, long in TRENDS
        ),
        Feature(f"{entity}_last_rental_at", "time", "when the last rental was", "seconds since 1970",
                ALL_TIME),
    )  # fmt: skip


CLASSES = {
    "age": ("age_class", "years"),
    "height_cm": ("height_class", "centimetres"),
    "weight_kg": ("weight_class", "kilograms"),
}
"""Numbers of a user's profile, the classes that they are put into, and their units."""

CLASS_WIDTH = 5
"""Units of a class: narrow enough that neighbours choose alike, wide enough to be counted for each rental."""

CLASS_NAMES = tuple(name for name, _ in CLASSES.values())
"""Of them, rentals count by whom they were rented."""

USER_FEATURES = (
    Feature("user_age", "numeric", "age, from the profile", "years", PROFILE),
    Feature("user_height_cm", "numeric", "height, from the profile", "centimetres", PROFILE),
    Feature("user_weight_kg", "numeric", "weight, from the profile", "kilograms", PROFILE),
    Feature(
        "user_segment", "categorical", "segment of the profile, such as the body type", "segment", PROFILE
    ),
    *(
        Feature(
            f"user_{name}",
            "categorical",
            f"{name.removesuffix('_class')} in classes of {CLASS_WIDTH}, by the lower end",
            unit,
            PROFILE,
        )
        for name, unit in CLASSES.values()
    ),
    *_activity("user", "rentals by the user"),
    Feature("user_price_mean", "numeric", "mean price of the user's rentals", "currency", ALL_TIME),
    Feature("user_price_deviation", "numeric", "standard deviation of these prices", "currency", ALL_TIME),
    Feature("user_capacity_mean", "numeric", "mean size of the user's rentals", "size", ALL_TIME),
    Feature("user_capacity_deviation", "numeric", "standard deviation of these sizes", "size", ALL_TIME),
    Feature("user_categories", "numeric", "different categories rented", "categories", ALL_TIME, 0.0),
    Feature("user_favourite_category", "categorical", "category rented most often", "category", ALL_TIME),
    Feature("user_favourite_purpose", "categorical", "purpose named most often", "purpose", ALL_TIME),
    Feature("user_category_counts", "counts", "the user's rentals by category", "rentals", ALL_TIME),
    Feature("user_purpose_counts", "counts", "the user's rentals by purpose", "rentals", ALL_TIME),
    Feature("user_capacity_counts", "counts", "the user's rentals by size", "rentals", ALL_TIME),
    Feature("user_size_counts", "counts", "the user's rentals by chosen size", "rentals", ALL_TIME),
    Feature(
        "user_recent_rentals",
        "list",
        f"the last {RECENT_RENTALS} rentals by the user, each once, the last one first",
        "rental ids",
        ALL_TIME,
    ),
)

RENTAL_FEATURES = (
    Feature("rental_price", "numeric", "price of the rental", "currency", PROFILE),
    Feature("rental_capacity", "numeric", "how many people (or which size) the rental fits", "size", PROFILE),
    Feature("rental_category", "categorical", "category of the rental", "category", PROFILE),
    Feature("rental_area", "categorical", "area in which the rental is offered", "area", PROFILE),
    *_activity("rental", "times the rental was rented"),
    Feature("rental_purpose_counts", "counts", "times it was rented by purpose", "rentals", ALL_TIME),
    Feature("rental_size_counts", "counts", "times it was rented by chosen size", "rentals", ALL_TIME),
    *(
        Feature(
            f"rental_{name}_counts",
            "counts",
            f"times it was rented by the user's {name.replace('_', ' ')}",
            "rentals",
            ALL_TIME,
        )
        for name in CLASS_NAMES
    ),
)

CATEGORY_FEATURES = (
    *_activity("category", "rentals in the category"),
    Feature("category_price_mean", "numeric", "mean price of what is listed in it", "currency", ALL_TIME),
    Feature(
        "category_price_deviation", "numeric", "standard deviation of these prices", "currency", ALL_TIME
    ),
    Feature("category_purpose_counts", "counts", "rentals in the category by purpose", "rentals", ALL_TIME),
)

PURPOSE_FEATURES = (
    *_activity("purpose", "rentals for the purpose"),
    Feature("purpose_category_counts", "counts", "rentals for the purpose by category", "rentals", ALL_TIME),
)

USER_RECENCY_FEATURES = (
    Feature("user_recency_days", "numeric", "whole days from the user's last rental to the request", "days",
            REQUEST),
)  # fmt: skip
RENTAL_RECENCY_FEATURES = (
    Feature("rental_recency_days", "numeric", "whole days from its last rental to the request", "days",
            REQUEST),
)  # fmt: skip
MATCH_FEATURES = (
    Feature("match_category_affinity", "numeric", "share of the user's rentals in the rental's category",
            "share", REQUEST, 0.0),
    Feature("match_size_affinity", "numeric", "share of the user's rentals of the rental's size", "share",
            REQUEST, 0.0),
    Feature("match_size_difference", "numeric", "the rental's size less the user's mean size", "size",
            REQUEST),
    Feature("match_price_difference", "numeric", "the rental's price less the user's mean price", "currency",
            REQUEST),
)  # fmt: skip
PURPOSE_MATCH_FEATURES = (
    Feature("match_purpose_affinity", "numeric", "share of the user's rentals for the request's purpose",
            "share", REQUEST, 0.0),
    Feature("match_purpose_popularity", "numeric", "share of the rental's rentals for the request's purpose",
            "share", REQUEST, 0.0),
)  # fmt: skip
POSITION_FEATURES = (
    Feature("rental_price_position", "numeric", "price against its category's listings",
            "standard deviations from the mean", REQUEST),
    Feature("rental_category_share", "numeric", "its share of its category's rentals of 90 days", "share",
            REQUEST),
)  # fmt: skip

VIEWS: dict[str, tuple[Feature, ...]] = {
    USER_VIEW: USER_FEATURES,
    RENTAL_VIEW: RENTAL_FEATURES,
    CATEGORY_VIEW: CATEGORY_FEATURES,
    PURPOSE_VIEW: PURPOSE_FEATURES,
}
"""The stored features by feature view."""

ON_DEMAND_VIEWS: dict[str, tuple[Feature, ...]] = {
    "user_recency": USER_RECENCY_FEATURES,
    "rental_recency": RENTAL_RECENCY_FEATURES,
    "user_rental_match": MATCH_FEATURES,
    "purpose_match": PURPOSE_MATCH_FEATURES,
    "category_position": POSITION_FEATURES,
}
"""The features that are computed at request time, by on-demand feature view."""


def _chosen(features: tuple[Feature, ...], *names: str) -> tuple[Feature, ...]:
    by_name = {feature.name: feature for feature in features}
    return tuple(by_name[name] for name in names)


def _recommended(entity: str) -> tuple[str, ...]:
    spans = ("30d", "90d", "365d", "all")
    return (
        *(f"{entity}_rentals_{span}" for span in spans),
        *(f"{entity}_rating_mean_{span}" for span in spans),
        f"{entity}_recency_days",
    )


RECOMMENDER_USER_FEATURES = _chosen(
    USER_FEATURES + USER_RECENCY_FEATURES,
    "user_age",
    "user_height_cm",
    "user_weight_kg",
    "user_segment",
    *(f"user_{name}" for name in CLASS_NAMES),
    *_recommended("user"),
    "user_price_mean",
    "user_categories",
    "user_favourite_category",
    "user_favourite_purpose",
    "user_recent_rentals",
)
"""The user's part of ``FEATURE_SERVICE``."""

RECOMMENDER_PURPOSE_FEATURES = _chosen(
    PURPOSE_FEATURES,
    *(
        f"purpose_{statistic}_{span}"
        for statistic in ("rentals", "rating_mean")
        for span in ("7d", "30d", "90d", "365d", "all")
    ),
)
"""The purpose's part: how many named it lately, and how pleased they were."""

RECOMMENDER_REQUEST_FEATURES = RECOMMENDER_USER_FEATURES + RECOMMENDER_PURPOSE_FEATURES
"""What a request of a user for a purpose brings to the recommender."""

RECOMMENDER_RENTAL_FEATURES = _chosen(
    RENTAL_FEATURES + RENTAL_RECENCY_FEATURES,
    "rental_price",
    "rental_capacity",
    "rental_category",
    "rental_area",
    "rental_rentals_7d",
    *_recommended("rental"),
    "rental_purpose_counts",
    "rental_size_counts",
    *(f"rental_{name}_counts" for name in CLASS_NAMES),
)
"""The rental's part."""
