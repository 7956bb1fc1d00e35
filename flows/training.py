"""What the training flow composes: the training set from Feast, its split, and the registered version."""

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from feature_repo import lake
from feature_repo.names import FEATURE_SERVICE, RENTAL_FEATURES, USER_FEATURES, Feature
from feature_repo.settings import FeatureSettings
from flows.settings import CHECKOUT, FlowSettings
from models.columns import Columns

if TYPE_CHECKING:
    from models.evaluation import Evaluation
    from models.recommender import Recommender

PARITY_ROWS = 2_000
"""Real rows, the latest ones, on which the exported graph is held against PyTorch."""

PARITY_LIMIT = 1e-5
"""Largest difference of a score or a predicted rating that single precision explains."""


class ParityError(RuntimeError):
    """The exported graph does not answer as the trained model does."""


@dataclass(frozen=True)
class TrainingSet:
    """Point-in-time correct frames up to ``until``.

    ``events`` has a row per rating with the features as of it; ``catalogues`` the whole catalogue with its
    features as of each month's start and as of ``until``; ``snapshot_hash`` names the ratings behind them.
    """

    events: pd.DataFrame
    catalogues: pd.DataFrame
    until: pd.Timestamp
    snapshot_hash: str


def training_set(features: FeatureSettings, flow: FlowSettings, until: pd.Timestamp | None) -> TrainingSet:
    """Join the ratings before ``until`` (default: all) with their features, through Feast."""
    from feature_repo import spark, store

    until = until or lake.clock(features.lake)
    ratings = lake.read(features.lake, "ratings", until)
    if ratings.empty:
        raise lake.LakeError(f"the lake has no rating before {until:%Y-%m-%d}: give a later --until")
    rentals = lake.read(features.lake, "rentals", until)
    months = pd.date_range(end=until, periods=flow.catalogue_months, freq="MS")
    times = sorted({month for month in months if month > rentals["listed_at"].min()} | {until})
    print(f"joining {len(ratings):,} ratings and {len(times)} catalogues with their features")
    spark.session(features)
    feature_store = store.open_store(features)
    return TrainingSet(
        events=store.as_of_events(feature_store, ratings),
        catalogues=store.catalogue_as_of(feature_store, rentals, times),
        until=until,
        snapshot_hash=lake.snapshot_hash(ratings),
    )


def feature_columns() -> Columns:
    """The feature service's columns as the model takes them."""

    def named(features: tuple[Feature, ...], kind: str) -> tuple[str, ...]:
        return tuple(feature.name for feature in features if feature.kind == kind)

    return Columns(
        user_numeric=named(USER_FEATURES, "numeric"),
        user_categorical=named(USER_FEATURES, "categorical"),
        rental_numeric=named(RENTAL_FEATURES, "numeric"),
        rental_categorical=named(RENTAL_FEATURES, "categorical"),
    )


def split(data: TrainingSet, test_days: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Part the events by time: all but the last ``test_days`` days, and these."""
    from models.data import split_by_time

    return split_by_time(data.events, data.until - pd.Timedelta(days=test_days))


@dataclass(frozen=True)
class Published:
    """A registered version and how far its ONNX graph is from PyTorch (max abs difference)."""

    version: int
    onnx_max_abs_diff: float


def publish(
    model: "Recommender", evaluation: "Evaluation", data: TrainingSet, run: str, reason: str
) -> Published:
    """Export the model with the catalogue as of ``data.until``, prove parity, and register it.

    Raises:
        ParityError: the exported graph does not answer as the model does.
    """
    from models.export import export, parity
    from models.registry import Registry

    settings = FeatureSettings()
    catalogue = data.catalogues[data.catalogues["snapshot_at"] == data.until]
    with tempfile.TemporaryDirectory() as folder:
        onnx = export(model, catalogue, Path(folder) / "model.onnx")
        difference = parity(model, catalogue, onnx, data.events.tail(PARITY_ROWS))
        if not difference < PARITY_LIMIT:
            raise ParityError(
                f"the ONNX graph differs from PyTorch by {difference:.1e}, more than {PARITY_LIMIT:.0e}: "
                "it must not be served; look at what the exporter made of the model's last change"
            )
        version = Registry().register(
            onnx,
            evaluation,
            {
                "dataset": lake.dataset_of(settings.lake),
                "dataset_hash": data.snapshot_hash,
                "feature_service": FEATURE_SERVICE,
                "git_commit": _git_commit(),
                "metaflow_run": run,
                "onnx_max_abs_diff": difference,
                "reason": reason,
                "trained_until": f"{data.until:%Y-%m-%d}",
            },
        )
    return Published(version, difference)


def _git_commit() -> str:
    answer = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    return answer.stdout.strip() or "not under git"
