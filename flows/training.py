"""What the training flow composes: the training set from Feast, and the lineage of a model."""

import subprocess
from dataclasses import dataclass

import pandas as pd

from feature_repo import lake
from feature_repo.names import FEATURE_SERVICE, RENTAL_FEATURES, USER_FEATURES, Feature
from feature_repo.settings import FeatureSettings
from flows.settings import CHECKOUT, FlowSettings
from models.columns import Columns


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


def lineage(data: TrainingSet, dataset: str, run: str, reason: str, parity: float) -> dict[str, str]:
    """Where a model comes from: stored with every version in the registry."""
    return {
        "dataset": dataset,
        "dataset_hash": data.snapshot_hash,
        "feature_service": FEATURE_SERVICE,
        "git_commit": _git_commit(),
        "metaflow_run": run,
        "onnx_max_abs_diff": repr(parity),
        "reason": reason,
        "trained_until": f"{data.until:%Y-%m-%d}",
    }


def _git_commit() -> str:
    answer = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    return answer.stdout.strip() or "not under git"
