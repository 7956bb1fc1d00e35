"""A small market with the features of the service, a model of it, and a registry with that as champion.

Also what flows run in as processes: a home with features of the generator.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flows.gating import gate
from flows.parameters import CHAMPION
from flows.settings import CHECKOUT
from flows.training import TrainingSet, feature_columns, publish, split
from models.card import approval
from models.evaluate import evaluate
from models.registry import Registry
from models.settings import GateSettings, Hyperparameters
from models.train import fit

UNTIL = pd.Timestamp("2024-07-01", tz="UTC")
DAY = pd.Timedelta(days=1)
BY_HAND = approval("champion", "by hand", ("a test",))
SETTINGS = GateSettings(parity_rows=200)
SIZES = {"ranking_dimension": 16, "batch_size": 128}
EVENTS, USERS, RENTALS = 3000, 300, 40


def market(seed: int = 0) -> TrainingSet:
    """Half a year in which a segment rents from its own half of the catalogue, and the older rate better.

    All other features are noise, whichever the feature service names.
    """
    draw, columns = np.random.default_rng(seed), feature_columns()
    user, segment = draw.integers(USERS, size=EVENTS), draw.integers(2, size=USERS)
    own = draw.random(EVENTS) < 0.9
    rental = draw.integers(RENTALS // 2, size=EVENTS) + RENTALS // 2 * (segment[user] == own)
    when = UNTIL - pd.to_timedelta(np.sort(draw.integers(1, 180, EVENTS))[::-1], unit="D")
    numbers = {name: draw.normal(30, 10, EVENTS) for name in (*columns.user_numeric, *columns.rental_numeric)}
    events = pd.DataFrame(
        {
            **numbers,
            **dict.fromkeys((*columns.user_strings, *columns.rental_categorical), "a"),
            **dict.fromkeys([context.counts for context in columns.context], "{}"),
            columns.recent_rentals: "[]",
            "user_id": [f"u{n}" for n in user],
            "rental_id": [f"r{n}" for n in rental],
            "user_segment": np.array(["tall", "short"])[segment[user]],
            "purpose": "work",
            "size": "14",
            "rating": np.clip(numbers["user_age"] / 10 + draw.normal(0, 0.5, EVENTS), 1, 5),
            "event_timestamp": when,
            "arrived_at": when,
        }
    )
    catalogue = pd.DataFrame(
        {
            **{name: draw.normal(30, 10, RENTALS) for name in columns.rental_numeric},
            **dict.fromkeys(columns.rental_categorical, "a"),
            **dict.fromkeys([context.counts for context in columns.context], "{}"),
            "rental_id": [f"r{n}" for n in range(RENTALS)],
        }
    )
    times = pd.date_range(end=UNTIL, periods=7, freq="MS")
    catalogues = pd.concat([catalogue.assign(snapshot_at=at) for at in times], ignore_index=True)
    return TrainingSet(events, catalogues, UNTIL, UNTIL - 60 * DAY, "a hash")


def trained(data: TrainingSet, **hyperparameters: float):
    train, _ = split(data)
    return fit(train, data.catalogues, feature_columns(), Hyperparameters(**SIZES, **hyperparameters))


@pytest.fixture(scope="session")
def data() -> TrainingSet:
    return market()


@pytest.fixture(scope="session")
def good(data):
    return trained(data, epochs=8, ranking_weight_decay=0.05, rating_learning_rate=0.005)


@pytest.fixture(scope="session")
def evaluation(good, data):
    train, test = split(data)
    return evaluate(good, test, data.catalogues, train)


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """A registry of the test file's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RENTALS_HOME", str(tmp_path_factory.mktemp("home")))
        yield Registry()


@pytest.fixture(scope="module")
def champion(registry, good, data, evaluation):
    """The good model, gated against the baselines, published and promoted."""
    gated = gate(good, data, CHAMPION, SETTINGS)
    version = publish(good, evaluation, data, gated, "TrainFlow/first", "a test")
    assert version, gated.decision
    found = registry.get(version)
    registry.promote(version, BY_HAND)
    return found


Command = Callable[..., str]
"""Runs Python with arguments and settings, and returns what it printed on both of its outputs."""


@pytest.fixture(scope="session")
def python() -> Command:
    def run(*arguments: str, fails: bool = False, **settings: str) -> str:
        # Metaflow's settings of this process point to another home.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("METAFLOW_")}
        done = subprocess.run(
            [sys.executable, *arguments],
            env={**inherited, "PYTHONPATH": str(CHECKOUT), **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert (done.returncode != 0) is fails, done.stdout[-5000:]
        return done.stdout

    return run


@pytest.fixture(scope="session")
def small_home(tmp_path_factory: pytest.TempPathFactory, python: Command) -> Path:
    """A home with the features of the generator's first months."""
    home = tmp_path_factory.mktemp("small") / "home"
    features = str(CHECKOUT / "flows" / "features.py")
    python(features, "run", "--until", "2021-08-01", RENTALS_HOME=str(home))
    return home
