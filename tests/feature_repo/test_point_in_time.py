"""The training set against a brute-force oracle over many random histories, and against deliberate leaks.

Spark costs seconds a run, so one run computes all histories: each is a marketplace of its own, with a prefix.
"""

import json
import math
import shutil
from collections import Counter
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F

from feature_repo import history, lake, store
from feature_repo.names import MARKETPLACE_SERVICE, ON_DEMAND_VIEWS, VIEWS
from feature_repo.transforms import batch

pytestmark = pytest.mark.slow

START = datetime(2020, 1, 1, tzinfo=UTC)
DAY, MICROSECOND = timedelta(days=1), timedelta(microseconds=1)
BORDER = START + 200 * DAY
"""As of which the features are computed first, from the first batches."""
END = START + 1_000 * DAY
HISTORIES = 150

IDS = ["1", "11", "ü 'ß\"", "壱"]
NEVER_LISTED = [f"r{number}" for number in range(10)]
moments = st.builds(
    lambda day, rest: START + day * DAY + rest,
    st.one_of(st.integers(0, 20), st.integers(0, 420)),
    st.sampled_from([0 * DAY, MICROSECOND, DAY / 2, DAY - MICROSECOND]),
)
delays = st.sampled_from([0 * DAY, 0 * DAY, MICROSECOND, DAY / 3, 8 * DAY, 400 * DAY])
batches = st.integers(0, 1)
users = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from(IDS[:3]),
        "joined_at": moments,
        "age": st.sampled_from([30.0, 34.0, None]),
        "height_cm": st.sampled_from([171.5, 175.0, None]),
        "weight_kg": st.none(),
        "segment": st.sampled_from(["tall", None]),
        "batch": batches,
    }
)
rentals = st.fixed_dictionaries(
    {
        "rental_id": st.sampled_from(IDS[:3]),
        "category": st.sampled_from(["gown", 'a"b', None]),
        "area": st.sampled_from(["north", None]),
        "price": st.sampled_from([9.99, 100.0, None]),
        "capacity": st.sampled_from([4.0, 14.0, None]),
        "listed_at": moments,
        "batch": batches,
    }
)
ratings = st.builds(
    lambda delay, **columns: columns | {"arrived_at": columns["event_timestamp"] + delay},
    delays,
    rating_id=st.sampled_from(["1", "11", *"abcdefghijklmnopqrstuvwxyz"]),
    user_id=st.sampled_from(IDS),
    rental_id=st.one_of(st.sampled_from(IDS), st.sampled_from(NEVER_LISTED)),
    rating=st.sampled_from([1.0, 2.5, 5.0]),
    source_rating=st.none(),
    purpose=st.sampled_from(["work", "party", None]),
    size=st.sampled_from([0.0, 14.0, 0.1, None]),
    event_timestamp=moments,
    batch=batches,
)
marketplaces = st.fixed_dictionaries(
    {
        "users": st.lists(users, max_size=3),
        "rentals": st.lists(rentals, max_size=3),
        "ratings": st.one_of(
            st.lists(ratings, min_size=1, max_size=12),
            # Of one user, so that there are more rentals than a list of the recent ones has.
            st.lists(ratings.map(lambda row: row | {"user_id": "1"}), min_size=18, max_size=24),
        ),
        "other_times": st.lists(moments, min_size=1, max_size=3),
    }
)
PREFIXED = ("user_id", "rental_id", "rating_id", "category", "purpose")


def rating(number, happened, delay=0 * DAY, user="1", rental="11", stars=5.0, batch=0):
    return {
        "rating_id": str(number),
        "user_id": user,
        "rental_id": rental,
        "rating": stars,
        "source_rating": None,
        "purpose": "work",
        "size": None,
        "event_timestamp": START + happened,
        "arrived_at": START + happened + delay,
        "batch": batch,
    }


KNOWN_TRAPS = {
    "users": [],
    "rentals": [],
    "ratings": [
        rating("a", DAY),
        rating("b", DAY, user="11", rental="1", stars=1.0),
        rating("b", DAY, user="11", rental="1", stars=2.0),
        rating("c", DAY + MICROSECOND),
        rating("d", 2 * DAY, delay=5 * DAY, stars=1.0),
        rating("e", 3 * DAY),
        rating("a", 3 * DAY, stars=1.0, batch=1),
        rating("f", 4 * DAY, stars=1.0, batch=1),
        rating("g", 5 * DAY),
    ],
    "other_times": [START + 6 * DAY],
}
"""The pair 1, 11 and its mirror at once, twins, a tie but for a microsecond, a late arrival, a backfill."""


def drawn(number):
    """That many marketplaces, the known traps first and without a prefix."""
    found = [KNOWN_TRAPS]

    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(marketplaces)
    def draw(marketplace):
        found.append(marketplace)

    draw()
    return [found[0], *(prefixed(each, f"{place}/") for place, each in enumerate(found[1:]))]


def prefixed(marketplace, prefix):
    return {
        table: [
            {name: prefix + value if name in PREFIXED and value else value for name, value in row.items()}
            for row in rows
        ]
        if table != "other_times"
        else rows
        for table, rows in marketplace.items()
    }


def landed(marketplace, table):
    """The rows that count: the first with its key, batch after batch."""
    key = lake.KEYS[table]
    rows = sorted(marketplace[table], key=lambda row: row["batch"])
    return list({row[key]: row for row in reversed(rows)}.values())


def append(home, markets, number):
    for table, schema in lake.TABLES.items():
        rows = [row for market in markets for row in market[table] if row["batch"] == number]
        frame = pd.DataFrame(rows, columns=schema.names)
        for column in schema:
            if str(column.type).startswith("timestamp"):
                frame[column.name] = pd.to_datetime(frame[column.name], utc=True)
        lake.append(home, table, f"batch-{number}", frame)


def labels(marketplace):
    """What to ask: each rating as of when it happened, was known and just after, and as of other times."""
    asked = []
    for row in landed(marketplace, "ratings"):
        known = max(row["event_timestamp"], row["arrived_at"])
        asked += [(row, at) for at in (row["event_timestamp"], known, known + MICROSECOND)]
        asked += [(row, at) for at in marketplace["other_times"]]
    categories = [rental["category"] for rental in marketplace["rentals"]] or [None]
    return [
        {
            "user_id": row["user_id"],
            "rental_id": row["rental_id"],
            "category": categories[place % len(categories)],
            "purpose": row["purpose"],
            "event_timestamp": at,
        }
        for place, (row, at) in enumerate(asked)
    ]


def training_set(computed, markets):
    """All labels with the features that Feast joins to them, and what they should be."""
    asked = [(market, label) for market in markets for label in labels(market)]
    events = pd.DataFrame([{"rating_id": str(n), **label} for n, (_, label) in enumerate(asked)])
    opened = store.open_store(computed)
    store.register(opened, computed.lake)
    found = store.as_of_events(opened, events, MARKETPLACE_SERVICE)
    rows = {int(row["rating_id"]): row for row in found.to_dict("records")}
    return [(market, label, rows[number]) for number, (market, label) in enumerate(asked)]


def oracle(market, label):
    """Every feature as of the label's time, from the raw rows that were known strictly before it."""
    at = label["event_timestamp"]
    listed = {row["rental_id"]: row for row in landed(market, "rentals")}
    joined = {row["user_id"]: row for row in landed(market, "users")}
    nothing = {"price": None, "capacity": None, "category": None, "listed_at": None}
    nobody = {"joined_at": None, **dict.fromkeys(BODY)}
    events = []
    for row in landed(market, "ratings"):
        known = max(row["event_timestamp"], row["arrived_at"])
        about = listed.get(row["rental_id"], nothing)
        if about["listed_at"] is None or about["listed_at"] > known:
            about = nothing
        who = joined.get(row["user_id"], nobody)
        if who["joined_at"] is None or who["joined_at"] > known:
            who = nobody
        if known < at:
            about = {name: about[name] for name in ("price", "capacity", "category")}
            events.append(row | about | body_classes(who))

    def of(key):
        return [event for event in events if label[key] is not None and event[key] == label[key]]

    def profile(table, key, time):
        rows = [row for row in landed(market, table) if row[key] == label[key] and row[time] <= at]
        return rows[0] if rows else {}

    expected = {}
    mine, user = of("user_id"), profile("users", "user_id", "joined_at")
    if mine or user:
        expected |= {f"user_{name}": user.get(name) for name in (*BODY, "segment")}
        expected |= {f"user_{name}": value for name, value in body_classes(user).items()}
        expected |= activity("user", mine, at) | spread("user_price", mine, "price")
        expected |= spread("user_capacity", mine, "capacity")
        for name in ("category", "purpose", "capacity", "size"):
            expected[f"user_{name}_counts"] = counts(mine, name)
        expected["user_recent_rentals"] = recent(mine)
        expected["user_categories"] = len(counts(mine, "category"))
        expected["user_favourite_category"] = favourite(counts(mine, "category"))
        expected["user_favourite_purpose"] = favourite(counts(mine, "purpose"))
    its, rental = of("rental_id"), profile("rentals", "rental_id", "listed_at")
    if its or rental:
        expected |= {f"rental_{name}": rental.get(name) for name in ("price", "capacity", "category", "area")}
        expected |= activity("rental", its, at)
        expected |= {f"rental_{name}_counts": counts(its, name) for name in ("purpose", "size", *CLASSES)}
    similar = of("category")
    offers = [r for r in listed.values() if r["category"] == label["category"] and r["listed_at"] <= at]
    if label["category"] is not None and (similar or offers):
        expected |= activity("category", similar, at) | spread("category_price", offers, "price")
        expected["category_purpose_counts"] = counts(similar, "purpose")
    if alike := of("purpose"):
        expected |= activity("purpose", alike, at) | {"purpose_category_counts": counts(alike, "category")}
    return expected | on_request(label, expected)


BODY, CLASSES = ("age", "height_cm", "weight_kg"), ("age_class", "height_class", "weight_class")


def body_classes(user):
    """Of a profile's numbers the lower ends of their classes of 5, as text."""
    numbers = [user.get(name) for name in BODY]
    return dict(zip(CLASSES, [None if n is None else str(int(n - n % 5)) for n in numbers], strict=True))


def activity(prefix, events, at):
    expected, rates = {}, {}
    for name, days in (("7d", 7), ("30d", 30), ("90d", 90), ("365d", 365), ("all", None)):
        first = None if days is None else at.replace(hour=0, minute=0, second=0, microsecond=0) - days * DAY
        stars = [e["rating"] for e in events if first is None or e["event_timestamp"] >= first]
        expected[f"{prefix}_rentals_{name}"] = len(stars)
        mean = sum(stars) / len(stars) if stars else None
        expected[f"{prefix}_rating_mean_{name}"] = mean
        expected[f"{prefix}_rating_deviation_{name}"] = deviation(stars)
        expected[f"{prefix}_rating_shrunk_{name}"] = (sum(stars) + 5 * 4.0) / (len(stars) + 5)
        rates[days] = len(stars) / days + 1 / 365 if days else None
    expected[f"{prefix}_trend_7d_30d"] = rates[7] / rates[30]
    expected[f"{prefix}_trend_30d_365d"] = rates[30] / rates[365]
    last = max((e["event_timestamp"].timestamp() for e in events), default=None)
    return expected | {f"{prefix}_last_rental_at": last}


def deviation(values):
    return (
        math.sqrt(sum((v - sum(values) / len(values)) ** 2 for v in values) / len(values)) if values else None
    )


def spread(name, rows, column):
    values = [row[column] for row in rows if row[column] is not None]
    return {
        f"{name}_mean": sum(values) / len(values) if values else None,
        f"{name}_deviation": deviation(values),
    }


def counts(events, name):
    values = [event[name] for event in events if event[name] is not None]
    return dict(Counter(f"{value:g}" if isinstance(value, float) else value for value in values))


def recent(events):
    """The last ten rentals, each once, the last one first; of those of one moment the last by name."""
    found = []
    for event in sorted(events, key=lambda e: (e["event_timestamp"], e["rental_id"]), reverse=True):
        if event["rental_id"] not in found:
            found.append(event["rental_id"])
    return found[:10]


def favourite(counted):
    return max(counted, key=lambda value: (counted[value], value), default=None)


def on_request(label, known):
    """The request-time features, from the stored ones that are expected."""
    at = label["event_timestamp"].timestamp()

    def combined(function, *names):
        values = [known.get(name) for name in names]
        return None if None in values else function(*values)

    def share(prefix, name, value):
        if value is None:
            return None
        value = f"{value:g}" if isinstance(value, float) else value
        return known.get(f"{prefix}_{name}_counts", {}).get(value, 0) / (
            known.get(f"{prefix}_rentals_all", 0) + 2
        )

    return {
        "user_recency_days": combined(lambda last: (at - last) // 86_400, "user_last_rental_at"),
        "rental_recency_days": combined(lambda last: (at - last) // 86_400, "rental_last_rental_at"),
        "match_category_affinity": share("user", "category", known.get("rental_category")),
        "match_size_affinity": share("user", "capacity", known.get("rental_capacity")),
        "match_size_difference": combined(lambda a, b: a - b, "rental_capacity", "user_capacity_mean"),
        "match_price_difference": combined(lambda a, b: a - b, "rental_price", "user_price_mean"),
        "match_purpose_affinity": share("user", "purpose", label["purpose"]),
        "match_purpose_popularity": share("rental", "purpose", label["purpose"]),
        "rental_price_position": combined(
            lambda price, mean, spread: (price - mean) / spread if spread > 1e-9 else None,
            "rental_price",
            "category_price_mean",
            "category_price_deviation",
        ),
        "rental_category_share": combined(
            lambda part, whole: part / whole if whole else None, "rental_rentals_90d", "category_rentals_90d"
        ),
    }


FEATURES = [feature for views in (VIEWS, ON_DEMAND_VIEWS) for each in views.values() for feature in each]


def same(found, expected, kind):
    if expected is None:
        return found is None or (isinstance(found, float) and math.isnan(found))
    if kind in ("counts", "list"):
        return isinstance(found, str) and json.loads(found) == expected
    return found == (pytest.approx(expected, rel=1e-5, abs=1e-4) if kind == "numeric" else expected)


def wrong_features(training):
    """Of each label that is wrong: its marketplace, the label, and its features as found and as expected."""
    wrong = []
    for market, label, found in training:
        expected = oracle(market, label)
        differing = {
            feature.name: (found[feature.name], expected.get(feature.name))
            for feature in FEATURES
            if not same(found[feature.name], expected.get(feature.name), feature.kind)
        }
        if differing:
            wrong.append((market, label, differing))
    return sorted(wrong, key=lambda case: len(case[0]["ratings"]))


@pytest.fixture
def empty(spark, feature_settings):
    """The suite's home without a lake, which is where the definitions look for the history."""
    yield feature_settings
    shutil.rmtree(feature_settings.lake, ignore_errors=True)
    shutil.rmtree(feature_settings.home / "feast", ignore_errors=True)


def test_the_training_set_holds_what_was_known_strictly_before_each_label(empty):
    markets = drawn(HISTORIES)
    append(empty.lake, markets, 0)
    history.compute(empty, pd.Timestamp(BORDER))
    append(empty.lake, markets, 1)
    history.compute(empty, pd.Timestamp(END))
    training = training_set(empty, markets)
    wrong = wrong_features(training)
    assert not wrong, f"{len(wrong)} of {len(training)} labels are wrong, the simplest: {wrong[0]}"
    rated = [found for _, _, found in training if found["user_rentals_all"] > 0]
    assert len(rated) > len(training) / 4
    lists = [json.loads(found["user_recent_rentals"]) for found in rated]
    assert sum(len(each) == 10 for each in lists) > 20


def ignoring_arrival():
    return F.unix_micros("event_timestamp")


def seeing_itself():
    return F.greatest(F.unix_micros("arrived_at"), F.unix_micros("event_timestamp")) - 1


def a_day_early(view, folded, tables, honest=batch.history_rows):
    return honest(view, folded, tables).withColumn(
        "event_timestamp", F.col("event_timestamp") - F.expr("interval 1 day")
    )


@pytest.mark.parametrize(
    ("name", "leak"),
    [("known_at", ignoring_arrival), ("known_at", seeing_itself), ("history_rows", a_day_early)],
)
def test_a_leak_of_the_future_is_reported(empty, monkeypatch, name, leak):
    monkeypatch.setattr(batch, name, leak)
    markets = [KNOWN_TRAPS]
    for number in (0, 1):
        append(empty.lake, markets, number)
    history.compute(empty, pd.Timestamp(END))
    wrong = {
        feature for *_, differing in wrong_features(training_set(empty, markets)) for feature in differing
    }
    assert {"user_rentals_all", "rental_rentals_all", "purpose_rentals_all"} <= wrong
