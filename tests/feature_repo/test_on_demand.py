"""Features of a request: hand-made columns, oracles in pandas, and the same values offline and online."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo import history, lake, store
from feature_repo.names import MARKETPLACE_SERVICE, ON_DEMAND_VIEWS
from feature_repo.on_demand import (
    AFFINITY_PRIOR_RENTALS,
    CLOCK_TOLERANCE_SECONDS,
    SECONDS_PER_DAY,
    RequestFeatureError,
    category_position,
    purpose_match,
    rental_recency,
    user_recency,
    user_rental_match,
)
from feature_repo.settings import FeatureSettings
from feature_repo.views import size_label

NOTHING = [None, math.nan, np.float32("nan")]
DAY = SECONDS_PER_DAY


def match(**columns):
    """``user_rental_match`` of one row, its other inputs missing."""
    names = "user_category_counts user_capacity_counts user_rentals_all user_price_mean user_capacity_mean"
    inputs = dict.fromkeys([*names.split(), "rental_category", "rental_capacity", "rental_price"])
    answer = user_rental_match({name: [value] for name, value in (inputs | columns).items()})
    return {name: values[0] for name, values in answer.items()}


def test_recency_counts_whole_days():
    now = [10 * DAY, 10 * DAY, 10 * DAY - 1]
    last = [9 * DAY, 9 * DAY + 1, 9 * DAY]
    assert user_recency({"requested_at": now, "user_last_rental_at": last}) == {
        "user_recency_days": [1.0, 0.0, 0.0]
    }
    assert rental_recency({"requested_at": now, "rental_last_rental_at": last}) == {
        "rental_recency_days": [1.0, 0.0, 0.0]
    }


def test_a_clock_that_is_a_little_behind_asks_on_the_day_itself_and_the_past_has_no_recency():
    behind = [CLOCK_TOLERANCE_SECONDS, CLOCK_TOLERANCE_SECONDS + 1, 9 * DAY]
    answer = user_recency(
        {"requested_at": [9 * DAY - s for s in behind], "user_last_rental_at": [9 * DAY] * 3}
    )
    assert answer == {"user_recency_days": [0.0, None, None]}


@pytest.mark.parametrize("nothing", NOTHING)
def test_what_needs_a_missing_value_is_missing(nothing):
    answer = user_recency({"requested_at": [1.0, nothing], "user_last_rental_at": [nothing, 1.0]})
    assert answer == {"user_recency_days": [None, None]}
    found = match(rental_category=nothing, rental_capacity=nothing, rental_price=nothing, user_price_mean=3.0)
    assert set(found.values()) == {None}
    found = category_position(
        {
            "rental_price": [nothing, 1.0],
            "category_price_mean": [1.0, nothing],
            "category_price_deviation": [1.0, 1.0],
            "rental_rentals_90d": [nothing, 1.0],
            "category_rentals_90d": [1.0, nothing],
        }
    )
    assert found == {"rental_price_position": [None, None], "rental_category_share": [None, None]}


@pytest.mark.parametrize("nothing", NOTHING)
def test_a_user_of_whom_nothing_is_known_has_no_affinity_but_a_number(nothing):
    found = match(
        user_category_counts=nothing,
        user_capacity_counts=nothing,
        user_rentals_all=nothing,
        rental_category="gown",
        rental_capacity=4.0,
    )
    assert found["match_category_affinity"] == found["match_size_affinity"] == 0.0


def test_affinity_is_the_share_of_rentals_beside_the_prior():
    known = {"user_category_counts": '{"gown":3,"a\\"b":1}', "user_rentals_all": 4.0}
    for category, count in (("gown", 3), ('a"b', 1), ("never", 0), ("", 0)):
        found = match(rental_category=category, **known)["match_category_affinity"]
        assert found == count / (4 + AFFINITY_PRIOR_RENTALS)


@pytest.mark.parametrize("size", [14, 14.0, np.float32(14.0), np.float64(14.0)])
def test_a_size_is_found_whatever_number_it_is(size):
    found = match(user_capacity_counts='{"14":2}', user_rentals_all=2.0, rental_capacity=size)
    assert found["match_size_affinity"] == 2 / (2 + AFFINITY_PRIOR_RENTALS)


@pytest.mark.parametrize("size", [0.1, 1 / 3, 1_234_567.0])
def test_a_size_that_was_stored_as_float32_is_found_among_those_counted_in_float64(size):
    known = {"user_capacity_counts": json.dumps({size_label(size): 2}), "user_rentals_all": 2.0}
    found = match(**known, rental_capacity=float(np.float32(size)))
    assert found["match_size_affinity"] == 2 / (2 + AFFINITY_PRIOR_RENTALS)


@given(st.floats(-1e7, 1e7), st.floats(-1e7, 1e7))
def test_a_size_has_one_label_before_and_after_it_is_stored_as_float32(size, other):
    stored = float(np.float32(size))
    assert size_label(size) == size_label(stored)
    assert np.float32(size_label(size)) == np.float32(size)
    assert (size_label(size) == size_label(other)) == (np.float32(size) == np.float32(other))


@pytest.mark.parametrize(
    ("size", "label"),
    [(14.0, "14"), (0.1, "0.1"), (-0.0, "0"), (1234567.0, "1234567"), (1 / 3, "0.33333334")],
)
def test_the_label_of_a_size_is_what_people_would_write(size, label):
    assert size_label(size) == label


@pytest.mark.parametrize(
    "counts",
    ["", "{", "null", "[]", '"gown"', "[" * 100_000]
    + [f'{{"gown":{value}}}' for value in ('"3"', "null", "1.5", "-1", "true")],
)
def test_counts_that_are_none_are_refused_by_name(counts):
    with pytest.raises(RequestFeatureError, match=r"user_category_counts is not JSON .* compute"):
        match(user_category_counts=counts, user_rentals_all=3.0, rental_category="gown")


def test_differences_are_of_the_rental_less_the_user():
    found = match(rental_price=30.0, user_price_mean=20.0, rental_capacity=4.0, user_capacity_mean=6.5)
    assert (found["match_price_difference"], found["match_size_difference"]) == (10.0, -2.5)


def test_a_request_without_a_purpose_has_no_match_with_one():
    inputs = {
        "user_purpose_counts": ['{"work":1}'] * 3,
        "user_rentals_all": [2.0] * 3,
        "rental_purpose_counts": ['{"work":5}', None, "{}"],
        "rental_rentals_all": [8.0, None, 0.0],
    }
    assert purpose_match(inputs | {"requested_purpose": [None] * 3}) == {
        "match_purpose_affinity": [None] * 3,
        "match_purpose_popularity": [None] * 3,
    }
    assert purpose_match(inputs | {"requested_purpose": ["work"] * 3}) == {
        "match_purpose_affinity": [0.25] * 3,
        "match_purpose_popularity": [0.5, 0.0, 0.0],
    }


def test_among_equal_prices_and_in_an_idle_category_there_is_no_position():
    found = category_position(
        {
            "rental_price": [12.0, 12.0],
            "category_price_mean": [10.0, 10.0],
            "category_price_deviation": [0.0, 4.0],
            "rental_rentals_90d": [0.0, 1.0],
            "category_rentals_90d": [0.0, 4.0],
        }
    )
    assert found == {"rental_price_position": [None, 0.5], "rental_category_share": [None, 0.25]}


amounts = st.one_of(st.none(), st.just(math.nan), st.floats(0, 1e6))
labels = st.one_of(st.none(), st.sampled_from(["gown", "a b", "ü", "14"]))
counts = st.one_of(st.none(), st.dictionaries(st.sampled_from(["gown", "ü", "14"]), st.integers(0, 99)))


@given(st.lists(st.tuples(amounts, amounts, amounts, amounts, amounts), max_size=8))
def test_positions_equal_those_of_pandas(rows):
    names = ["rental_price", "category_price_mean", "category_price_deviation"]
    names += ["rental_rentals_90d", "category_rentals_90d"]
    frame = pd.DataFrame(rows, columns=names, dtype=float)
    found = pd.DataFrame(category_position(frame.to_dict("list")), dtype=float)
    deviation = frame.category_price_deviation.where(frame.category_price_deviation > 0)
    whole = frame.category_rentals_90d.where(frame.category_rentals_90d > 0)
    expected = (frame.rental_price - frame.category_price_mean) / deviation
    pd.testing.assert_series_equal(found.rental_price_position, expected, check_names=False)
    expected = frame.rental_rentals_90d / whole
    pd.testing.assert_series_equal(found.rental_category_share, expected, check_names=False)


@given(st.lists(st.tuples(counts, st.one_of(st.none(), st.integers(0, 200)), labels), max_size=8))
def test_affinities_equal_those_of_pandas(rows):
    frame = pd.DataFrame(rows, columns=["counts", "total", "purpose"], dtype=object)
    texts = [None if count is None else json.dumps(count) for count in frame.counts]
    found = purpose_match(
        {
            "user_purpose_counts": texts,
            "rental_purpose_counts": texts,
            "user_rentals_all": list(frame.total),
            "rental_rentals_all": list(frame.total),
            "requested_purpose": list(frame.purpose),
        }
    )
    number = pd.Series(
        [(c or {}).get(p, 0) for c, p in zip(frame.counts, frame.purpose, strict=True)], dtype=float
    )
    total = pd.to_numeric(frame.total).fillna(0.0).astype(float)
    expected = (number / (total + AFFINITY_PRIOR_RENTALS)).where(frame.purpose.notna())
    for values in found.values():
        pd.testing.assert_series_equal(pd.Series(values, dtype=float), expected, check_names=False)


START = pd.Timestamp("2020-01-01", tz="UTC")
UNTIL = pd.Timestamp("2020-06-01", tz="UTC")


@pytest.fixture(scope="module")
def marketplace(spark, home):
    """A lake of its own, published: sizes that float32 cannot hold, a rental without anything, odd texts."""
    settings = FeatureSettings(home=home / "on_demand")
    users = pd.DataFrame({"user_id": ["1", "11", "idle"], "joined_at": START, "age": 30.0})
    users = users.assign(height_cm=np.nan, weight_kg=np.nan, segment=None)
    rentals = pd.DataFrame(
        {
            "rental_id": ["1", "11", "bare", "alone"],
            "category": ["gown", "gown", None, 'a"b'],
            "area": None,
            "price": [10.1, 99.99, np.nan, 5.0],
            "capacity": [0.1, 14.0, np.nan, 1 / 3],
            "listed_at": START,
        }
    )
    rng = np.random.default_rng(0)
    ratings = pd.DataFrame(
        {
            "rating_id": [str(number) for number in range(60)],
            "user_id": rng.choice(["1", "11"], 60),
            "rental_id": rng.choice(rentals.rental_id, 60),
            "rating": rng.choice([1.0, 3.0, 5.0], 60),
            "source_rating": 1.0,
            "purpose": rng.choice(np.array(["work", "ü", None], dtype=object), 60),
            "event_timestamp": START + pd.to_timedelta(rng.integers(0, 140 * DAY, 60), unit="s"),
        }
    )
    ratings["arrived_at"] = ratings["event_timestamp"]
    for table, frame in {"users": users, "rentals": rentals, "ratings": ratings}.items():
        lake.append(settings.lake, table, "batch", frame)
    history.compute(settings, UNTIL)
    store.publish(settings, UNTIL)
    return settings


@pytest.mark.slow
def test_offline_and_online_are_equal_for_the_same_request(marketplace):
    opened = store.open_store(marketplace)
    category = {"1": "gown", "11": "gown", "bare": None, "alone": 'a"b', "new": None}
    pairs = [(user, rental) for user in ("1", "11", "idle", "new") for rental in category]
    requests = pd.DataFrame(pairs, columns=["user_id", "rental_id"])
    requests["rating_id"] = [str(number) for number in range(len(requests))]
    requests["category"] = requests.rental_id.map(category).fillna("none")
    requests["purpose"] = np.resize(np.array(["work", None, "ü", "never"], dtype=object), len(requests))
    requests["event_timestamp"] = UNTIL + pd.Timedelta(hours=7)
    names = [feature.name for features in ON_DEMAND_VIEWS.values() for feature in features]
    offline = store.as_of_events(opened, requests, MARKETPLACE_SERVICE).set_index("rating_id")
    offline = offline.loc[requests.rating_id, names].astype(float)
    online = opened.get_online_features(
        features=opened.get_feature_service(MARKETPLACE_SERVICE),
        entity_rows=[
            {
                "user_id": row.user_id,
                "rental_id": row.rental_id,
                "category": row.category,
                "purpose": row.purpose or "none",
                "requested_at": row.event_timestamp.timestamp(),
                "requested_purpose": row.purpose,
            }
            for row in requests.itertuples()
        ],
    ).to_dict()
    online = pd.DataFrame({name: online[name] for name in names}, index=offline.index, dtype=float)
    pd.testing.assert_frame_equal(offline, online, check_exact=True)
    assert offline.notna().any().all()
    assert (offline.match_size_affinity > 0).any()


@pytest.mark.slow
def test_sizes_that_float32_rounds_are_found_in_the_counts(marketplace):
    opened = store.open_store(marketplace)
    ratings = lake.read(marketplace.lake, "ratings")
    rows = [{"user_id": user, "rental_id": rental} for user in ("1", "11") for rental in ("1", "11", "alone")]
    found = opened.get_online_features(
        features=["user_rental_match:match_size_affinity"], entity_rows=rows
    ).to_dict()["match_size_affinity"]
    for row, share in zip(rows, found, strict=True):
        own = ratings[ratings.user_id == row["user_id"]]
        number = (own.rental_id == row["rental_id"]).sum()  # every rental has a size of its own
        assert number > 0
        assert share == pytest.approx(number / (len(own) + AFFINITY_PRIOR_RENTALS))
