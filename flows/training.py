"""What the training flow composes: the training set from Feast, its split, and the registered version."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from feature_repo import lake
from feature_repo.names import (
    CLASS_NAMES,
    FEATURE_SERVICE,
    RECOMMENDER_RENTAL_FEATURES,
    RECOMMENDER_REQUEST_FEATURES,
    Feature,
)
from feature_repo.settings import FeatureSettings
from feature_repo.views import size_label
from flows.commit import git_commit
from flows.parameters import SCRATCH
from flows.settings import FlowSettings
from models.columns import Columns, Context

if TYPE_CHECKING:
    from flows.gating import Gated
    from models.card import ModelCard
    from models.evaluation import Evaluation
    from models.recommender import Recommender


SIZE_STEP = 4.0
"""Width of a class of sizes: a single code may give away the few rentals that have it."""


@dataclass(frozen=True)
class TrainingSet:
    """Point-in-time correct frames up to ``until``.

    ``events`` has a row per rating known by then, with the features as of its event; ``catalogues`` the whole
    catalogue with its features as of each week's end, the last being ``until``; ``snapshot_hash`` names the
    tables behind them.
    """

    events: pd.DataFrame
    catalogues: pd.DataFrame
    until: pd.Timestamp
    test_from: pd.Timestamp
    """The model learns from the events before it, and is tested on the others."""

    snapshot_hash: str

    @property
    def latest(self) -> pd.DataFrame:
        """The catalogue as of ``until``."""
        return self.catalogues[self.catalogues["snapshot_at"] == self.until]


def training_set(features: FeatureSettings, flow: FlowSettings, until: pd.Timestamp | None) -> TrainingSet:
    """Join the ratings known before ``until`` with their features as of the event, through Feast.

    Args:
        features: where the lake and the store are.
        flow: how time is cut.
        until: None takes all ratings that are in the features.

    Raises:
        LakeError: the features do not reach ``until``, or there are no ratings before it.
    """
    from feature_repo import spark, store

    until = computed_until(features, until)
    ratings = lake.read(features.lake, "ratings", until)
    if ratings.empty:
        raise lake.LakeError(f"no rating was known before {until:%Y-%m-%d}: give a later --until")
    rentals = lake.read(features.lake, "rentals", until)
    weeks = pd.date_range(end=until, periods=flow.catalogue_weeks, freq="7D")
    times = [week for week in weeks if week > rentals["listed_at"].min()]
    print(f"joining {len(ratings):,} ratings and {len(times)} catalogues with their features")
    spark.session(features)
    feature_store = store.open_store(features)
    return TrainingSet(
        events=with_size_labels(store.as_of_events(feature_store, ratings)),
        catalogues=store.catalogue_as_of(feature_store, rentals, times),
        until=until,
        test_from=until - pd.Timedelta(days=flow.test_days),
        snapshot_hash=lake.snapshot_hash(ratings, rentals, lake.read(features.lake, "users", until)),
    )


def computed_until(features: FeatureSettings, until: pd.Timestamp | None) -> pd.Timestamp:
    """Return ``until``, or the end of the features for None, where all that was known by then is in them.

    Raises:
        LakeError: the features do not reach so far, or lack ratings of before.
    """
    from feature_repo import history

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
    return until


def with_size_labels(events: pd.DataFrame) -> pd.DataFrame:
    """Return ``events`` with their sizes as the texts under which sizes are counted, None where unknown."""
    labels = {size: size_label(size) for size in events["size"].dropna().unique()}
    return events.assign(size=events["size"].map(labels).astype(object).where(events["size"].notna(), None))


def feature_columns() -> Columns:
    """The feature service's columns as the model takes them."""

    def named(features: tuple[Feature, ...], kind: str) -> tuple[str, ...]:
        return tuple(feature.name for feature in features if feature.kind == kind)

    (recent,) = named(RECOMMENDER_REQUEST_FEATURES, "list")
    return Columns(
        user_numeric=named(RECOMMENDER_REQUEST_FEATURES, "numeric"),
        user_categorical=tuple(
            name
            for name in named(RECOMMENDER_REQUEST_FEATURES, "categorical")
            if name.removeprefix("user_") not in CLASS_NAMES
        ),
        rental_numeric=named(RECOMMENDER_RENTAL_FEATURES, "numeric"),
        rental_categorical=named(RECOMMENDER_RENTAL_FEATURES, "categorical"),
        context=(
            Context("purpose", "rental_purpose_counts"),
            Context("size", "rental_size_counts", SIZE_STEP),
            *(Context(f"user_{name}", f"rental_{name}_counts") for name in CLASS_NAMES),
        ),
        recent_rentals=recent,
    )


def split(data: TrainingSet) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Part the events by time: what the model learns from, and what it is tested on.

    What happened before the tests and became known only during them is in neither.
    """
    from models.catalogues import utc
    from models.data import split_by_time

    earlier, test = split_by_time(data.events, data.test_from)
    return earlier[utc(earlier["arrived_at"]) < data.test_from].reset_index(drop=True), test


def publish(
    model: "Recommender",
    evaluation: "Evaluation",
    data: TrainingSet,
    gated: "Gated",
    run: str,
    reason: str,
    began_from: str = SCRATCH,
) -> int | None:
    """Register what passed the gate as challenger, with its model card; keep the figures of what did not.

    Returns:
        The version's number; None for a refused model, which is a run in MLflow and no version.
    """
    from models.checkpoint import FILE, Checkpoint
    from models.inference import MODEL_FILE
    from models.registry import CHALLENGER, Registry

    registry = Registry()
    lineage = _lineage(data, gated) | {"metaflow_run": run, "reason": reason, "began_from": began_from}
    hyperparameters = model.hyperparameters.model_dump()
    files = {"gate.json": json.dumps(gated.decision.to_dict(), indent=2).encode()}
    if not gated.decision.passed:
        registry.refuse(evaluation, lineage, hyperparameters, files)
        return None
    files[FILE] = Checkpoint(model, data.latest).to_bytes()
    card = _card(evaluation, data, gated, lineage, hyperparameters)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, content in gated.graphs.items():
            (folder / name).write_bytes(content)
        version = registry.register(
            folder / MODEL_FILE,
            evaluation,
            lineage,
            hyperparameters,
            card,
            files,
            beside=[folder / name for name in gated.graphs if name != MODEL_FILE],
        )
    registry.set_alias(CHALLENGER, version)
    return version


def _card(
    evaluation: "Evaluation",
    data: TrainingSet,
    gated: "Gated",
    lineage: dict[str, Any],
    hyperparameters: dict[str, Any],
) -> "ModelCard":
    from models.card import ModelCard, approval, figures_of

    train, _ = split(data)
    return ModelCard(
        version=0,
        lineage={name: str(value) for name, value in lineage.items()},
        events={
            "ratings learnt from": len(train),
            "users among them": train["user_id"].nunique(),
            "rentals among them": train["rental_id"].nunique(),
            "rentals in the catalogue": len(data.latest),
        },
        hyperparameters={name: str(value) for name, value in hyperparameters.items()},
        test_events=evaluation.events,
        ranked_events=evaluation.ranked_events,
        figures=figures_of(evaluation),
        groups=gated.groups,
        gate=gated.decision,
        approvals=(approval("challenger", "the gate of the training flow", gated.decision.reasons),),
    )


def _lineage(data: TrainingSet, gated: "Gated") -> dict[str, Any]:
    return {
        "dataset": lake.dataset_of(FeatureSettings().lake),
        "dataset_hash": data.snapshot_hash,
        "feature_service": FEATURE_SERVICE,
        "git_commit": git_commit(),
        "onnx_max_abs_diff": gated.decision.onnx_max_abs_diff,
        "fp16_max_score_diff": gated.half["score"],
        "fp16_max_rating_diff": gated.half["rating"],
        "fp16_top_10_overlap": gated.half["overlap"],
        "first_event": f"{data.events['event_timestamp'].min():%Y-%m-%d}",
        "fitted_until": data.test_from.isoformat(),
        "trained_until": f"{data.until:%Y-%m-%d}",
        "gate": "passed" if gated.decision.passed else "refused",
    }
