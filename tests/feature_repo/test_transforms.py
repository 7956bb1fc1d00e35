"""The transformations against a brute-force oracle on random histories."""

import math

import numpy as np
import pandas as pd
import pytest

from feature_repo.names import RENTAL_FEATURES, USER_FEATURES, WINDOW_DAYS
from feature_repo.transforms.rental import rental_features
from feature_repo.transforms.user import user_features

pytestmark = pytest.mark.slow

EPOCH = pd.Timestamp("2020-01-01", tz="UTC")
USERS = "user_id string, joined_at timestamp, age double, height_cm double, weight_kg double, segment string"
RENTALS = "rental_id string, category string, area string, price double, capacity double, listed_at timestamp"
RATINGS = "user_id string, rental_id string, rating double, purpose string, event_timestamp timestamp"
UNTIL_DAY = (EPOCH - pd.Timestamp(0, tz="UTC")).days + 500


def random_history(seed, days=480, size=150):
    """Few users and rentals with ties, same-day pairs, missing attributes and ids like `1` and `11`."""
    rng = np.random.default_rng(seed)
    user_ids, rental_ids = ["1", "11", "111", "ü"], ["1", "11", "r"]
    users = pd.DataFrame(
        {
            "user_id": user_ids[:3],
            "joined_at": EPOCH,
            "age": [30.0, np.nan, 50.0],
            "height_cm": 170.0,
            "weight_kg": np.nan,
            "segment": ["a", None, "b"],
        }
    )
    rentals = pd.DataFrame(
        {
            "rental_id": rental_ids,
            "category": ["x", "y", None],
            "area": "north",
            "price": [10.0, 20.0, np.nan],
            "capacity": 2.0,
            "listed_at": EPOCH,
        }
    )
    ratings = pd.DataFrame(
        {
            "user_id": rng.choice(user_ids, size),
            "rental_id": rng.choice(rental_ids, size),
            "rating": rng.choice([1.0, 2.5, 4.0, 5.0], size),
            "purpose": rng.choice(np.array(["work", "party", None], dtype=object), size),
            "event_timestamp": EPOCH
            + pd.to_timedelta(rng.integers(0, days, size), unit="D")
            + pd.to_timedelta(rng.integers(0, 86_400, size), unit="s"),
        }
    )
    return users, rentals, ratings


def compute(spark, users, rentals, ratings, until_day=UNTIL_DAY):
    frames = [
        spark.createDataFrame(frame.astype(object).where(frame.notna(), None), schema=schema)
        for frame, schema in ((users, USERS), (rentals, RENTALS), (ratings, RATINGS))
    ]
    user_history = user_features(*frames, until_day).toPandas()
    rental_history = rental_features(frames[1], frames[2], until_day).toPandas()
    for history in (user_history, rental_history):
        history["event_timestamp"] = pd.to_datetime(history["event_timestamp"], utc=True)
    return user_history, rental_history


def expected_activity(past, prefix, at):
    days = (at - past.event_timestamp.dt.floor("D")).dt.days
    expected = {f"{prefix}_recency_days": days.min() if len(past) else math.nan}
    for name, window in [*((f"{d}d", d) for d in WINDOW_DAYS), ("all", 10**9)]:
        inside = past[days <= window]
        expected[f"{prefix}_rentals_{name}"] = len(inside)
        expected[f"{prefix}_rating_mean_{name}"] = inside.rating.mean()
    return expected


def most_frequent(values):
    values = [value for value in values if value is not None]
    return max(set(values), key=lambda value: (values.count(value), value)) if values else None


def same(found, expected):
    if pd.isna(expected):
        return pd.isna(found)
    return found == expected if isinstance(expected, str) else found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("seed", [1, 2])
def test_every_feature_row_equals_brute_force_over_strictly_earlier_days(spark, seed):
    users, rentals, ratings = random_history(seed)
    user_history, rental_history = compute(spark, users, rentals, ratings)
    assert len(user_history) > 100
    joined = ratings.merge(rentals, on="rental_id", how="left")
    for key, history, prefix in (("user_id", user_history, "user"), ("rental_id", rental_history, "rental")):
        assert not history.duplicated([key, "event_timestamp"]).any()
        for row in history.to_dict("records"):
            at = row["event_timestamp"]
            past = joined[(joined[key] == row[key]) & (joined.event_timestamp.dt.floor("D") < at)]
            expected = expected_activity(past, prefix, at)
            if prefix == "user":
                expected |= {
                    "user_price_mean": past.price.mean(),
                    "user_categories": past.category.nunique(),
                    "user_favourite_category": most_frequent(past.category.tolist()),
                    "user_favourite_purpose": most_frequent(past.purpose.tolist()),
                }
            wrong = {
                name: (row[name], value) for name, value in expected.items() if not same(row[name], value)
            }
            assert not wrong, (row[key], at, wrong)


def test_a_value_holds_from_its_row_to_the_next(spark):
    """Every day's true value equals the latest row at or before that day: no change is without a row."""
    users, rentals, ratings = random_history(3, days=100, size=20)
    _, history = compute(spark, users, rentals, ratings)
    for rental_id in history.rental_id.unique():
        rows = history[history.rental_id == rental_id].sort_values("event_timestamp")
        for at in pd.date_range(EPOCH, periods=480, tz="UTC"):
            past = ratings[(ratings.rental_id == rental_id) & (ratings.event_timestamp.dt.floor("D") < at)]
            row = rows[rows.event_timestamp <= at].iloc[-1]
            expected = expected_activity(past, "rental", at)
            expected.pop("rental_recency_days")  # it is stated as of the row, and grows without an event
            assert all(same(row[name], value) for name, value in expected.items()), (rental_id, at)


def test_the_future_does_not_change_the_past(spark):
    users, rentals, ratings = random_history(4)
    border = EPOCH + pd.Timedelta(days=200)
    tampered = ratings.copy()
    later = tampered.event_timestamp >= border
    tampered.loc[later, "rating"] = 1.0
    tampered.loc[later, "rental_id"] = "1"
    names = {"user": USER_FEATURES, "rental": RENTAL_FEATURES}
    before = compute(spark, users, rentals, ratings)
    after = compute(spark, users, rentals, tampered)
    for prefix, first, second in zip(names, before, after, strict=True):
        key = [f"{prefix}_id", "event_timestamp"]
        first, second = (
            frame[frame.event_timestamp <= border].sort_values(key, ignore_index=True)
            for frame in (first, second)
        )
        # Who has no profile exists only once rated, which the tampering may change.
        both = set(first[key[0]]) & set(second[key[0]])
        pd.testing.assert_frame_equal(
            *(frame[frame[key[0]].isin(both)].reset_index(drop=True) for frame in (first, second))
        )
        assert len(first) > 20


def test_before_anything_happened_a_feature_has_its_initial_value(spark):
    users, rentals, ratings = random_history(6)
    late = ratings[ratings.event_timestamp >= EPOCH + pd.Timedelta(days=30)]
    for history, features in zip(
        compute(spark, users, rentals, late), (USER_FEATURES, RENTAL_FEATURES), strict=True
    ):
        first = history[history.event_timestamp == EPOCH]
        assert len(first) == 3
        for feature in features:
            if feature.initial is not None:
                assert (first[feature.name] == feature.initial).all()
            elif "rating_mean" in feature.name or "recency" in feature.name:
                assert first[feature.name].isna().all()


def test_rows_end_at_the_clock(spark):
    users, rentals, ratings = random_history(5)
    clock = UNTIL_DAY - 450
    known = ratings[ratings.event_timestamp < EPOCH + pd.Timedelta(days=50)]
    for history in compute(spark, users, rentals, known, until_day=clock):
        assert history.event_timestamp.max() <= EPOCH + pd.Timedelta(days=50)
