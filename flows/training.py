"""What the training flow composes: the training set from Feast, its split, and the registered version."""

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from feature_repo import lake
from feature_repo.names import (
    FEATURE_SERVICE,
    RECOMMENDER_RENTAL_FEATURES,
    RECOMMENDER_USER_FEATURES,
    Feature,
)
from feature_repo.settings import FeatureSettings
from flows.settings import CHECKOUT, FlowSettings
from models.columns import Columns

if TYPE_CHECKING:
    from models.evaluation import Evaluation
    from models.recommender import Recommender

PARITY_ROWS = 10_000
"""Real rows, the latest ones, on which the exported graphs are held against PyTorch."""

HALF_ROWS = 2_000
"""Real rows on which the loss of half precision is measured: its mean needs fewer."""

PARITY_LIMIT = 1e-5
"""Largest difference of a score or a predicted rating that single precision explains."""


class ParityError(RuntimeError):
    """The exported graph does not answer as the trained model does."""


@dataclass(frozen=True)
class TrainingSet:
    """Point-in-time correct frames up to ``until``.

    ``events`` has a row per rating known by then, with the features as of its event; ``catalogues`` the whole
    catalogue with its features as of each month's start and as of ``until``; ``snapshot_hash`` names the
    tables behind them.
    """

    events: pd.DataFrame
    catalogues: pd.DataFrame
    until: pd.Timestamp
    test_from: pd.Timestamp
    """The model learns from the events before it, and is tested on the others."""

    snapshot_hash: str


def training_set(features: FeatureSettings, flow: FlowSettings, until: pd.Timestamp | None) -> TrainingSet:
    """Join the ratings known before ``until`` with their features as of the event, through Feast.

    Args:
        features: where the lake and the store are.
        flow: how time is cut.
        until: None takes all ratings that are in the features.

    Raises:
        LakeError: the features do not reach ``until``, or there are no ratings before it.
    """
    from feature_repo import history, spark, store

    known = history.as_of(features)
    until = until or known
    if until > known:
        raise lake.LakeError(
            f"the features end at {known:%Y-%m-%d}, before {until:%Y-%m-%d}: later events would be joined "
            "with stale ones; run `make features` first"
        )
    if late := history.missed(features):
        raise lake.LakeError(
            f"{late:,} ratings landed after the features were computed, though they were known before: run "
            "`make features` first"
        )
    ratings = lake.read(features.lake, "ratings", until)
    if ratings.empty:
        raise lake.LakeError(f"no rating was known before {until:%Y-%m-%d}: give a later --until")
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
        test_from=until - pd.Timedelta(days=flow.test_days),
        snapshot_hash=lake.snapshot_hash(ratings, rentals, lake.read(features.lake, "users", until)),
    )


def feature_columns() -> Columns:
    """The feature service's columns as the model takes them."""

    def named(features: tuple[Feature, ...], kind: str) -> tuple[str, ...]:
        return tuple(feature.name for feature in features if feature.kind == kind)

    return Columns(
        user_numeric=named(RECOMMENDER_USER_FEATURES, "numeric"),
        user_categorical=named(RECOMMENDER_USER_FEATURES, "categorical"),
        rental_numeric=named(RECOMMENDER_RENTAL_FEATURES, "numeric"),
        rental_categorical=named(RECOMMENDER_RENTAL_FEATURES, "categorical"),
    )


def split(data: TrainingSet) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Part the events by time: what the model learns from, and what it is tested on.

    What happened before the tests and became known only during them is in neither.
    """
    from models.catalogues import utc
    from models.data import split_by_time

    earlier, test = split_by_time(data.events, data.test_from)
    return earlier[utc(earlier["arrived_at"]) < data.test_from].reset_index(drop=True), test


@dataclass(frozen=True)
class Published:
    """A registered version and how far its ONNX graph is from PyTorch (max abs difference)."""

    version: int
    onnx_max_abs_diff: float


def publish(
    model: "Recommender", evaluation: "Evaluation", data: TrainingSet, run: str, reason: str
) -> Published:
    """Export the model with the catalogue as of ``data.until``, prove parity, and register it as challenger.

    Raises:
        ParityError: the exported graph does not answer as the model does.
    """
    from models.export import HALF_FILE, export_all
    from models.inference import PAIRS_FILE
    from models.parity import agreement, parity
    from models.registry import CHALLENGER, Registry

    settings = FeatureSettings()
    catalogue = data.catalogues[data.catalogues["snapshot_at"] == data.until]
    with tempfile.TemporaryDirectory() as folder:
        onnx = export_all(model, catalogue, Path(folder))
        difference = parity(model, catalogue, onnx, data.events.tail(PARITY_ROWS))
        if not difference < PARITY_LIMIT:
            raise ParityError(
                f"the ONNX graph differs from PyTorch by {difference:.1e}, more than {PARITY_LIMIT:.0e}: "
                "it must not be served; look at what the exporter made of the model's last change"
            )
        half = agreement(model, catalogue, onnx.with_name(HALF_FILE), data.events.tail(HALF_ROWS))
        registry = Registry()
        version = registry.register(
            onnx,
            evaluation,
            {
                "dataset": lake.dataset_of(settings.lake),
                "dataset_hash": data.snapshot_hash,
                "feature_service": FEATURE_SERVICE,
                "git_commit": _git_commit(),
                "metaflow_run": run,
                "onnx_max_abs_diff": difference,
                "fp16_max_score_diff": half.score,
                "fp16_max_rating_diff": half.rating,
                "fp16_top_10_overlap": half.overlap,
                "reason": reason,
                "fitted_until": f"{data.test_from:%Y-%m-%d}",
                "trained_until": f"{data.until:%Y-%m-%d}",
            },
            model.hyperparameters.model_dump(),
            beside=[onnx.with_name(PAIRS_FILE), onnx.with_name(HALF_FILE)],
        )
        registry.set_alias(CHALLENGER, version)
    return Published(version, difference)


def _git_commit() -> str:
    """The commit of the code, marked where files were changed since."""
    if not (CHECKOUT / ".git").exists() or not shutil.which("git"):
        return "not under git"

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=CHECKOUT, capture_output=True, text=True, check=False
        ).stdout.strip()

    return git("rev-parse", "HEAD") + (
        "-dirty" if git("status", "--porcelain", "--untracked-files=no") else ""
    )
