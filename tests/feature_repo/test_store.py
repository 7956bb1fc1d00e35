"""The real Feast on the real Spark: joins as of a time, materialization, online reads."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from feature_repo import history, lake, store
from feature_repo.names import (
    MARKETPLACE_SERVICE,
    ON_DEMAND_VIEWS,
    RECOMMENDER_PURPOSE_FEATURES,
    RECOMMENDER_RENTAL_FEATURES,
    RECOMMENDER_REQUEST_FEATURES,
    RECOMMENDER_USER_FEATURES,
    VIEWS,
)
from feature_repo.settings import FeatureSettings

pytestmark = pytest.mark.slow

START = pd.Timestamp("2020-01-01", tz="UTC")
UNTIL = pd.Timestamp("2021-01-01", tz="UTC")


def marketplace(seed=0, size=400):
    rng = np.random.default_rng(seed)
    users = pd.DataFrame({"user_id": ["1", "11", "2", "u v", "ü"], "joined_at": START, "age": 30.0})
    users = users.assign(height_cm=np.nan, weight_kg=np.nan, segment="a")
    rentals = pd.DataFrame({"rental_id": ["1", "11", "12"], "category": "x", "area": None, "price": 10.0})
    rentals = rentals.assign(capacity=np.nan, listed_at=START)
    ratings = pd.DataFrame(
        {
            "rating_id": [str(number) for number in range(size)],
            "user_id": rng.choice(users.user_id, size),
            "rental_id": rng.choice(rentals.rental_id, size),
            "rating": rng.choice([1.0, 3.0, 5.0], size),
            "source_rating": 1.0,
            "purpose": rng.choice(["party", "work"], size),
            "event_timestamp": START
            + pd.to_timedelta(rng.integers(0, 365, size), unit="D")
            + pd.to_timedelta(rng.choice([0, 1, 43_200, 86_399], size), unit="s"),
        }
    )
    late = pd.to_timedelta(rng.choice([0, 0, 3600, 864_000], size), unit="s")
    ratings["arrived_at"] = ratings["event_timestamp"] + late
    ratings["arrived_at"] = ratings["event_timestamp"]
    return {"users": users, "rentals": rentals, "ratings": ratings}


@pytest.fixture(scope="module")
def computed(spark, feature_settings):
    """A small lake with its feature histories; other modules build theirs after this one is removed."""
    for table, frame in marketplace().items():
        lake.append(feature_settings.lake, table, "batch", frame)
    history.compute(feature_settings, UNTIL)
    yield feature_settings
    shutil.rmtree(feature_settings.lake)
    shutil.rmtree(feature_settings.home / "feast", ignore_errors=True)


def feature_rows(settings, view):
    frame = pd.read_parquet(settings.lake / view)
    frame["event_timestamp"] = pd.to_datetime(frame["event_timestamp"], utc=True).astype(
        "datetime64[us, UTC]"
    )
    return frame.sort_values("event_timestamp")


def test_training_rows_equal_the_latest_feature_row_at_or_before_the_event(computed):
    opened = store.open_store(computed)
    store.register(opened, computed.lake)
    events = lake.read(computed.lake, "ratings")
    joined = store.as_of_events(opened, events).set_index("rating_id").sort_index()
    expected = events.sort_values("event_timestamp")
    views = {"user_id": "user_features", "rental_id": "rental_features", "purpose": "purpose_features"}
    for key, view in views.items():
        expected = pd.merge_asof(expected, feature_rows(computed, view), on="event_timestamp", by=key)
    expected = expected.set_index("rating_id").sort_index()
    seconds = expected.event_timestamp.astype("int64") / 1e6
    for entity in ("user", "rental"):
        expected[f"{entity}_recency_days"] = (seconds - expected[f"{entity}_last_rental_at"]) // 86_400
    for feature in (*RECOMMENDER_REQUEST_FEATURES, *RECOMMENDER_RENTAL_FEATURES):
        found, wanted = joined[feature.name], expected[feature.name]
        if feature.kind == "numeric":
            np.testing.assert_array_equal(found.astype(float), wanted.astype(float), err_msg=feature.name)
        else:
            assert found.where(found.notna(), None).tolist() == wanted.where(wanted.notna(), None).tolist()
    assert joined.user_rentals_all.max() > 20


def test_a_training_row_counts_what_had_happened_and_arrived_before_it(computed):
    opened = store.open_store(computed)
    events = lake.read(computed.lake, "ratings")
    joined = store.as_of_events(opened, events)
    for row in joined.itertuples():
        earlier = events[(events.user_id == row.user_id) & (events.event_timestamp < row.event_timestamp)]
        assert row.user_rentals_all == (earlier.arrived_at < row.event_timestamp).sum()


def test_the_marketplace_service_has_every_feature(computed):
    opened = store.open_store(computed)
    store.register(opened, computed.lake)
    events = lake.read(computed.lake, "ratings").tail(50).assign(category="x")
    joined = store.as_of_events(opened, events, MARKETPLACE_SERVICE)
    every = {feature.name for views in (VIEWS, ON_DEMAND_VIEWS) for fs in views.values() for feature in fs}
    assert every <= set(joined)
    filled = joined[sorted(every)].notna().any()
    # No rental has a size or an area in this marketplace, all prices are the same, and bodies are not known.
    unknown = [
        "user_height",
        "user_weight",
        "match_size",
        "capacity_mean",
        "capacity_deviation",
        "rental_capacity",
    ]
    unknown += ["rental_area", "price_position"]
    assert set(filled.index[~filled]) == {name for name in every if any(part in name for part in unknown)}


def test_the_catalogue_as_of_a_time_knows_what_was_listed_and_earned_before_it(computed):
    opened = store.open_store(computed)
    rentals = lake.read(computed.lake, "rentals")
    rentals.loc[2, "listed_at"] = START + pd.Timedelta(days=100)
    times = [START + pd.Timedelta(days=90), UNTIL]
    catalogue = store.catalogue_as_of(opened, rentals, times)
    assert catalogue.groupby("snapshot_at").size().tolist() == [2, 3]
    ratings = lake.read(computed.lake, "ratings")
    for row in catalogue.itertuples():
        earlier = ratings[(ratings.rental_id == row.rental_id) & (ratings.arrived_at < row.snapshot_at)]
        assert row.rental_rentals_all == len(earlier)


@pytest.fixture(params=["sqlite", "redis", "postgres"])
def online_url(request):
    if request.param == "redis":
        return request.getfixturevalue("redis_server").url
    return request.getfixturevalue("new_database")() if request.param == "postgres" else ""


def test_what_is_online_is_the_latest_of_the_history(computed, online_url):
    settings = FeatureSettings(home=computed.home, online_store_url=online_url)
    store.publish(settings, UNTIL)
    online = store.OnlineFeatures(settings)
    latest = feature_rows(computed, "user_features").groupby("user_id").last()
    for user_id, expected in latest.iterrows():
        found = online.user(str(user_id))
        for feature in RECOMMENDER_USER_FEATURES:
            if feature.name == "user_recency_days":
                continue
            wanted = None if pd.isna(expected[feature.name]) else expected[feature.name]
            assert found[feature.name] == wanted, (user_id, feature.name)
        seconds = UNTIL.timestamp() - expected["user_last_rental_at"]
        assert online.user(str(user_id), at=UNTIL)["user_recency_days"] == seconds // 86_400
    purposes = feature_rows(computed, "purpose_features").groupby("purpose").last()
    for purpose, expected in purposes.iterrows():
        found = online.user("nobody", purpose)
        assert found["user_rentals_all"] is None
        for feature in RECOMMENDER_PURPOSE_FEATURES:
            wanted = None if pd.isna(expected[feature.name]) else expected[feature.name]
            assert found[feature.name] == wanted, (purpose, feature.name)
    assert [row["rental_category"] for row in online.rentals(["1", "no", "11"])] == ["x", None, "x"]
    assert online.rentals([]) == []
    store.empty(settings)
    store.register(store.open_store(settings), settings.lake)
    assert set(store.OnlineFeatures(settings).user("1").values()) == {None}


def test_an_unknown_user_has_no_features_and_no_error(computed):
    store.publish(computed, UNTIL)
    assert set(store.OnlineFeatures(computed).user("nobody").values()) == {None}


def test_what_is_computed_is_registered_with_description_and_owner(computed):
    opened = store.open_store(computed)
    store.register(opened, computed.lake)
    view = opened.get_feature_view("user_features")
    assert view.owner
    assert all(field.description for field in view.features)
    assert Path(computed.home / "feast" / "registry.db").is_file()


def test_opening_a_store_moves_nobody_elses_home(tmp_path, monkeypatch):
    monkeypatch.setenv("RENTALS_HOME", str(tmp_path / "mine"))
    opened = store.open_store(FeatureSettings(home=tmp_path / "other"))
    assert opened.config.registry.path == str(tmp_path / "other" / "feast" / "registry.db")
    assert FeatureSettings().home == tmp_path / "mine"
