"""A small marketplace in a lake, and its features as tables that can be compared bit for bit."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from feature_repo import history, lake
from feature_repo.settings import FeatureSettings
from feature_repo.transforms.running import STATE
from feature_repo.views import VIEW_DEFINITIONS

START = pd.Timestamp("2020-01-01", tz="UTC")
DAY = pd.Timedelta(days=1)
END = START + 500 * DAY
BORDERS = [START + 100 * DAY, START + 230.5 * DAY]


def days(*numbers):
    return START + pd.to_timedelta(numbers, unit="D")


def marketplace(seed=0, size=150):
    """Ties, late arrivals, missing attributes, a nameless category, a user and a rental that nobody lists."""
    draw = np.random.default_rng(seed)
    users = pd.DataFrame({"user_id": ["1", "11", "ü"], "joined_at": days(0, 3, 300), "age": 30.0})
    users = users.assign(height_cm=np.nan, weight_kg=[60.0, np.nan, 70.5], segment="a")
    rentals = pd.DataFrame({"rental_id": ["1", "11", "12"], "category": ["gown", None, 'a"b'], "area": None})
    rentals = rentals.assign(
        price=[10.0, np.nan, 9.99], capacity=[4.0, 14.0, np.nan], listed_at=days(0, 50, 240)
    )
    happened = START + pd.to_timedelta(draw.integers(0, 400, size), unit="D")
    happened += pd.to_timedelta(draw.choice([0, 1, 43_200_000_000, 86_399_999_999], size), unit="us")
    ratings = pd.DataFrame(
        {
            "rating_id": [f"{seed}-{number}" for number in range(size)],
            "user_id": draw.choice([*users["user_id"], "x"], size),
            "rental_id": draw.choice([*rentals["rental_id"], *"abcdefghijklm"], size),
            "rating": draw.choice([1.0, 2.5, 5.0], size),
            "source_rating": np.nan,
            "purpose": draw.choice(np.array(["work", "party", None], object), size),
            "size": draw.choice([4.0, 14.0, np.nan], size),
            "event_timestamp": happened,
            "arrived_at": happened + draw.choice([0, 0, 0, 1, 40], size) * DAY,
        }
    )
    return {"users": users, "rentals": rentals, "ratings": ratings}


def land(settings, tables, batch="batch"):
    for table, frame in tables.items():
        lake.append(settings.lake, table, batch, frame)


def home(folder, tables=None):
    settings = FeatureSettings(home=folder)
    land(settings, tables or {})
    return settings


def histories(settings):
    """All four histories, in order."""
    return {
        view.name: pq.read_table(settings.lake / view.name)
        .drop_columns(STATE.names)
        .sort_by([(view.key, "ascending"), ("event_timestamp", "ascending")])
        .combine_chunks()
        for view in VIEW_DEFINITIONS
    }


def everything(settings):
    """All four histories and states, in order."""
    states = {
        f"state of {view.name}": pq.read_table(
            settings.lake / history.STATE_FOLDER / view.name, columns=STATE.names
        )
        .sort_by("key")
        .combine_chunks()
        for view in VIEW_DEFINITIONS
    }
    return histories(settings) | states


def differing(one, other):
    """Names of the tables that are not the same bit for bit."""
    return [name for name in one | other if not one[name].equals(other[name])]
