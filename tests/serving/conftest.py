import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from onnx import TensorProto, helper

from feature_repo.names import RECOMMENDER_RENTAL_FEATURES, RECOMMENDER_REQUEST_FEATURES
from serving import runtime
from serving.api import create_app
from serving.components import RuntimeState, new_state, save_state
from serving.manifest import render
from serving.processes import find_marked
from serving.settings import ServingSettings
from serving.triton import write_repository

CATALOGUE = 20
KNOWN_USERS = {"u0": 0.1, "u1": 0.2}
"""Users for whom the tiny model's score differs."""

ROLLOUT_SECONDS = 60
"""Until a rollout of the tests' runtime counts as one that does not end."""

ModelWriter = Callable[..., Path]


def write_tiny_model(path: Path, rating_offset: float = 1.0) -> Path:
    """An ONNX model with the signature of the recommender, which needs no training.

    It predicts 4 * sigmoid(score) + ``rating_offset``: 1..5 as it should be for 1, NaN for NaN.
    A missing age counts as zero.
    """

    def tensor(name: str, kind: int, width: int = 1) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, ["batch", width])

    inputs = [tensor(name, TensorProto.STRING) for name in ("user_id", "purpose", "size")]
    for feature in RECOMMENDER_REQUEST_FEATURES:
        kind = TensorProto.FLOAT if feature.kind == "numeric" else TensorProto.STRING
        inputs.append(tensor(feature.name, kind))
    base = np.random.default_rng(0).normal(size=CATALOGUE).astype(np.float32)
    names = [f"r{index}".encode() for index in range(CATALOGUE)]
    constants = [
        helper.make_tensor("names", TensorProto.STRING, [CATALOGUE], names),
        helper.make_tensor("base", TensorProto.FLOAT, [1, CATALOGUE], base),
        helper.make_tensor("k", TensorProto.INT64, [1], [CATALOGUE]),
        helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]),
        helper.make_tensor("four", TensorProto.FLOAT, [1], [4.0]),
        helper.make_tensor("offset", TensorProto.FLOAT, [1], [rating_offset]),
    ]
    nodes = [
        helper.make_node(
            "LabelEncoder",
            ["user_id"],
            ["taste"],
            domain="ai.onnx.ml",
            keys_strings=list(KNOWN_USERS),
            values_floats=list(KNOWN_USERS.values()),
            default_float=0.3,
        ),
        helper.make_node("IsNaN", ["user_age"], ["age_is_missing"]),
        helper.make_node("Where", ["age_is_missing", "zero", "user_age"], ["age"]),
        helper.make_node("Add", ["taste", "age"], ["level"]),
        helper.make_node("Add", ["level", "base"], ["scores"]),
        helper.make_node("TopK", ["scores", "k"], ["score", "position"], axis=1),
        helper.make_node("Gather", ["names", "position"], ["rental_id"]),
        helper.make_node("Sigmoid", ["score"], ["share"]),
        helper.make_node("Mul", ["share", "four"], ["stretched"]),
        helper.make_node("Add", ["stretched", "offset"], ["predicted_rating"]),
    ]
    outputs = [
        tensor("rental_id", TensorProto.STRING, CATALOGUE),
        tensor("score", TensorProto.FLOAT, CATALOGUE),
        tensor("predicted_rating", TensorProto.FLOAT, CATALOGUE),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "tiny", inputs, outputs, constants),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)],
        ir_version=9,
    )
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


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
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="session")
def write_model() -> ModelWriter:
    return write_tiny_model


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
