"""A small marketplace and a stream whose clock the test sets."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from feature_repo import lake, store
from feature_repo.names import VIEWS
from feature_repo.settings import FeatureSettings
from feature_repo.stream.engine import Engine
from feature_repo.stream.events import EPOCH, Line

START = datetime(2020, 1, 1, tzinfo=UTC)
USERS = ["1", "11", "u v", "ü"]
RENTALS = ["1", "11", "r/2"]
PURPOSES = ["party", 'a"b', None]
SIZES = [4, 0.1, None]
KEYS = {
    "user_features": "user_id",
    "rental_features": "rental_id",
    "category_features": "category",
    "purpose_features": "purpose",
}


def micros(moment):
    return (moment - EPOCH) // timedelta(microseconds=1)


def marketplace(folder):
    users = pd.DataFrame({"user_id": USERS, "joined_at": pd.Timestamp(START), "age": [30.5, None, 40, 50]})
    users = users.assign(height_cm=np.nan, weight_kg=61.3, segment=["a", None, "b", "b"])
    rentals = pd.DataFrame({"rental_id": RENTALS, "category": ["x", "y", None], "area": None})
    rentals = rentals.assign(
        price=[9.99, 20.0, np.nan], capacity=[4.0, 14.0, 4.0], listed_at=pd.Timestamp(START)
    )
    lake.append(folder, "users", "first", users)
    lake.append(folder, "rentals", "first", rentals)


def event(rating_id, happened, user_id="1", rental_id="1", rating=4.0, purpose="party", size=None):
    return {
        "rating_id": rating_id,
        "user_id": user_id,
        "rental_id": rental_id,
        "rating": rating,
        "purpose": purpose,
        "size": size,
        "event_timestamp": happened.isoformat(),
    }


def lines(*events):
    return [Line(json.dumps(each).encode(), "a file") for each in events]


class Clock:
    """A clock that the test sets."""

    def __init__(self):
        self.now = START + timedelta(hours=1)

    def __call__(self):
        return micros(self.now)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def stream(tmp_path, clock):
    """Opens a stream on a marketplace; opened again it is a restart."""
    settings = FeatureSettings(home=tmp_path, stream_landing_seconds=30 * 86_400)
    marketplace(settings.lake)
    opened = []

    def opening():
        opened.append(Engine(settings, clock))
        return opened[-1]

    yield opening
    for engine in opened:
        engine._database.close()


def online(settings, view, key):
    """The features of a key as they are online."""
    found = (
        store.open_store(settings)
        .get_online_features([f"{view}:{each.name}" for each in VIEWS[view]], [{KEYS[view]: key}])
        .to_dict()
    )
    return {each.name: found[each.name][0] for each in VIEWS[view]}


def same(found, wanted):
    return (pd.isna(found) and pd.isna(wanted)) or found == wanted
