"""One definition, two engines: what the stream puts online is what the batch computes from what it landed."""

import random
import shutil
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from feature_repo import history, lake, store
from feature_repo.names import VIEWS
from feature_repo.settings import FeatureSettings
from feature_repo.stream.engine import Engine
from tests.feature_repo.stream.conftest import (
    KEYS,
    PURPOSES,
    RENTALS,
    SIZES,
    START,
    USERS,
    Clock,
    event,
    lines,
    marketplace,
    online,
    same,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def settings(feature_settings):
    yield FeatureSettings(home=feature_settings.home, stream_landing_seconds=15 * 86_400)
    for name in ("lake", "feast", "stream"):
        shutil.rmtree(feature_settings.home / name, ignore_errors=True)


def later(folder):
    """A user and a rental that begin in the stream's middle, after they were rated."""
    users = pd.DataFrame({"user_id": ["joins later"], "age": 20.0, "height_cm": None, "weight_kg": None})
    users = users.assign(segment="c", joined_at=pd.Timestamp(START + timedelta(days=60)))
    rentals = pd.DataFrame({"rental_id": ["listed later"], "category": "x", "area": "a", "price": 77.0})
    rentals = rentals.assign(capacity=2.0, listed_at=pd.Timestamp(START + timedelta(days=70)))
    lake.append(folder, "users", "later", users)
    lake.append(folder, "rentals", "later", rentals)


def batch_of(rng, prefix, size, now):
    return [
        event(
            f"{prefix}-{number}",
            now - timedelta(seconds=rng.choice([0, 1, 3_600, 9 * 86_400, 400 * 86_400])),
            rng.choice([*USERS, "nobody", "joins later"]),
            rng.choice([*RENTALS, "unknown", "listed later", *"abcdefghij"]),
            rng.choice([1.0, 2.5, 5.0]),
            rng.choice(PURPOSES),
            rng.choice(SIZES),
        )
        for number in range(size)
    ]


def batch_ratings(rng, size):
    frame = pd.DataFrame(batch_of(rng, "batch", size, START))
    frame["event_timestamp"] = pd.to_datetime(frame["event_timestamp"], utc=True) + pd.to_timedelta(
        rng.choices(range(20), k=size), unit="D"
    )
    delay = pd.to_timedelta(rng.choices([0, 1, 12 * 86_400], k=size), unit="s")
    return frame.assign(arrived_at=frame["event_timestamp"] + delay, source_rating=frame["rating"])


@pytest.mark.parametrize("has_history", [True, False])
def test_the_newest_row_of_each_key_is_the_same_bit_for_bit(spark, settings, has_history):
    rng = random.Random(7)  # noqa: S311
    marketplace(settings.lake)
    later(settings.lake)
    lake.append(settings.lake, "ratings", "first", batch_ratings(rng, 60))
    if has_history:
        history.compute(settings, pd.Timestamp(START) + pd.Timedelta(days=18))
        store.publish(settings, pd.Timestamp(START) + pd.Timedelta(days=18))
    clock = Clock()
    clock.now = START + timedelta(days=40)
    engine, sent = Engine(settings, clock), []
    for number in range(40):
        clock.now += timedelta(seconds=rng.choice([0, 1, 40_000, 3 * 86_400, 20 * 86_400]))
        sent = batch_of(rng, str(number), rng.choice([1, 3, 9]), clock.now) + sent[:2]
        engine.process(f"batch {number}", lines(*sent))
        if rng.random() < 0.3:
            clock.now += timedelta(days=rng.choice([1, 8]))
            while engine.tick():
                pass
        if number == 20:
            late = batch_ratings(rng, 5).assign(rating_id=[f"late {each}" for each in range(5)])
            lake.append(settings.lake, "ratings", "second", late)
        if number == 30:
            engine.close()
            engine = Engine(settings, clock)
    clock.now += timedelta(days=2)
    while engine.tick():
        pass
    engine.close()

    until = pd.Timestamp(clock.now + timedelta(seconds=1))
    history.compute(settings, until)
    before = compare(settings)
    store.materialize(store.open_store(settings), until)
    assert compare(settings) == before


def compare(settings):
    keys = 0
    for view, features in VIEWS.items():
        rows = pd.read_parquet(settings.lake / view).sort_values("event_timestamp")
        for key, row in rows.groupby(KEYS[view]).tail(1).set_index(KEYS[view]).iterrows():
            found = online(settings, view, key)
            for feature in features:
                wanted = row[feature.name]
                wanted = None if pd.isna(wanted) else wanted
                wanted = float(wanted) if isinstance(wanted, np.floating) else wanted
                assert same(found[feature.name], wanted), (view, key, row.event_timestamp, feature.name)
            keys += 1
    assert keys >= len(USERS) + len(RENTALS) + 4
    return keys
