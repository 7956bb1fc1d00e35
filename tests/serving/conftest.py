import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pytest
from fastapi.testclient import TestClient
from tiny_model import CATALOGUE, write_tiny_model

from feature_repo.names import RECOMMENDER_RENTAL_FEATURES, RECOMMENDER_REQUEST_FEATURES
from serving import runtime
from serving.api import create_app
from serving.components import RuntimeState, new_state, save_state
from serving.manifest import render
from serving.processes import find_marked
from serving.settings import ServingSettings
from serving.triton import write_repository

ROLLOUT_SECONDS = 60
"""Until a rollout of the tests' runtime counts as one that does not end."""

ModelWriter = Callable[..., Path]


def write_recommender(folder: Path) -> Path:
    """A recommender as the flows export it, trained on noise; every other rental is a gown.

    The rental r7 costs 7, and so on.
    """
    from flows.training import feature_columns
    from models.export import export_all
    from models.settings import Hyperparameters
    from models.train import fit

    columns, draw = feature_columns(), np.random.default_rng(0)
    numeric = [*columns.user_numeric, *columns.rental_numeric]
    counts = dict.fromkeys([context.counts for context in columns.context], "{}")
    catalogue = pd.DataFrame({name: draw.normal(size=CATALOGUE) for name in columns.rental_numeric})
    catalogue = catalogue.assign(
        **dict.fromkeys(columns.rental_categorical, "somewhere")
        | counts
        | {"rental_id": [f"r{number}" for number in range(CATALOGUE)]}
        | {"rental_category": ["gown", "suit"] * (CATALOGUE // 2)}
        | {"rental_price": np.arange(CATALOGUE, dtype=float)},
        snapshot_at=pd.Timestamp("2024-01-01", tz="UTC"),
    )
    events = pd.DataFrame({name: draw.normal(size=200) for name in numeric}).assign(
        **dict.fromkeys([*columns.user_strings, *columns.rental_strings], "one")
        | counts
        | {columns.recent_rentals: "[]"}
        | {"rental_id": [f"r{number % CATALOGUE}" for number in range(200)]},
        rating=draw.integers(1, 6, 200).astype(float),
        event_timestamp=pd.Timestamp("2024-02-01", tz="UTC"),
    )
    return export_all(
        fit(events, catalogue, columns, Hyperparameters(epochs=1)), catalogue, folder, others=events
    )


class MemoryFeatures:
    """Online features that need no feature store."""

    def __init__(self, users: Mapping[str, Mapping[str, float | str | None]]) -> None:
        self._users = users

    def user(self, user_id: str, purpose: str | None = None) -> Mapping[str, float | str | None]:
        return self._users.get(user_id, {feature.name: None for feature in RECOMMENDER_REQUEST_FEATURES})

    def rentals(self, rental_ids: list[str]) -> list[Mapping[str, float | str | None]]:
        known = {"rental_category": "gown", "rental_price": 30.0}
        return [{f.name: known.get(f.name) for f in RECOMMENDER_RENTAL_FEATURES} for _ in rental_ids]


@pytest.fixture
def settings(tmp_path: Path) -> ServingSettings:
    return ServingSettings(home=tmp_path / "home")


@pytest.fixture(scope="session")
def decisions_url(new_database: Callable[[], str]) -> str:
    return new_database()


@pytest.fixture(params=["sqlite", "postgresql"])
def settings_of_either(tmp_path: Path, request: pytest.FixtureRequest) -> ServingSettings:
    """The same with the decisions of rollouts in each kind of database."""
    if request.param == "sqlite":
        return ServingSettings(home=tmp_path / "home")
    url = request.getfixturevalue("decisions_url")
    with psycopg.connect(url) as server:
        # Another database for each test would take longer than most of them.
        server.execute("DROP TABLE IF EXISTS decisions, rollback_request")
    return ServingSettings(home=tmp_path / "home", decisions_url=url)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="session")
def features_of() -> Callable[..., MemoryFeatures]:
    """Makes a store of the given features by user."""
    return MemoryFeatures


@pytest.fixture
def memory_features() -> MemoryFeatures:
    """A store which knows one user, ``u0``."""
    return MemoryFeatures({"u0": {"user_age": 0.5, "user_segment": "athletic"}})


@pytest.fixture(scope="session")
def exported_recommender(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recommender(tmp_path_factory.mktemp("recommender"))


@pytest.fixture
def api(settings: ServingSettings, memory_features: Any) -> Iterator[TestClient]:
    save_state(new_state(settings), settings)
    with TestClient(create_app(settings, memory_features), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, write_model: ModelWriter) -> Iterator[ServingSettings]:
    """A runtime with versions 3, 4 and 5; the last one predicts NaN. Version 3 is served."""
    folder = tmp_path_factory.mktemp("runtime")
    settings = ServingSettings(
        home=folder / "a home", rollout_seconds=ROLLOUT_SECONDS, rollout_poll_seconds=0.1
    )
    for version, offset in ((3, 1.0), (4, 1.0), (5, math.nan)):
        write_repository(write_model(folder / f"{version}.onnx", rating_offset=offset), version, settings)
    runtime.apply(render({"v3": 100}, settings), settings)
    yield settings
    runtime.down(settings)
    assert not find_marked(settings.home)


@pytest.fixture
def apply(served: ServingSettings) -> Callable[..., RuntimeState]:
    def apply(weights: dict[str, int], shadow: str | None = None) -> RuntimeState:
        return runtime.apply(render(weights, served, shadow), served)

    return apply
