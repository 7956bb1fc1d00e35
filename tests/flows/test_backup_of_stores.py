"""Every store of a home, filled by its own code, gives the same answers after a wipe and a restore."""

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fastapi import HTTPException
from starlette.requests import Request

from feature_repo import history, lake
from feature_repo.schema import TABLES
from feature_repo.settings import FeatureSettings
from feature_repo.store import OnlineFeatures, materialized_until, open_store
from feature_repo.stream import inbox
from feature_repo.stream.database import StreamDatabase
from flows.backup.make import make
from flows.backup.restore import restore
from flows.retraining_log import Outcome, RetrainingLog
from models.load import load
from models.recommendation_table import RecommendationTable
from models.registry import CHAMPION, Registry
from models.settings import ModelSettings
from monitoring import quarantine
from monitoring.prediction_log import (
    Feedback,
    Prediction,
    PredictionLog,
    read_feedback,
    read_predictions,
)
from monitoring.quality_history import QualityHistory
from serving import api_keys, triton
from serving.decision_log import Action, DecisionLog
from serving.feedback.ledger import Ledger
from serving.settings import ServingSettings

pytestmark = pytest.mark.slow

NOW = datetime(2026, 5, 1, tzinfo=UTC)
USER = {"user_id": "u0", "user_age": 30.0}
COPIED = ("lake", "feast", "metaflow", "monitoring", "popularity.json")
"""What the feature flow leaves; the rest is added here."""


def fill(home: Path, model: Path) -> str:
    """Put something into every store that the feature flow does not fill, and return an API key."""
    registry = Registry(ModelSettings(home=home))
    version = registry.register(model, None, {"dataset": "generator"}, files={"gate.json": b"{}"})
    registry.set_alias(CHAMPION, version)
    triton.write_repository(registry.champion().path, version, ServingSettings(home=home))
    table = RecommendationTable(ModelSettings(home=home).recommendations)
    number = table.begin("content", str(version), 1)
    best = pd.DataFrame(
        {"user_id": "u1", "rental_id": ["r1", "r2"], "prediction": [4.5, 4.0], "rank": [1, 2]}
    )
    table.write(number, 0, best)
    table.publish(number)
    answer = Prediction("q1", "u1", "m", "1", "v1", True, USER, ["r1"], [0.5], [4.5], 2.5, NOW)
    with PredictionLog(home / "lake") as log:
        log.record(answer)
        log.feedback(Feedback("q1", "u1", "r1", 5.0, NOW))
    Ledger(home / "lake").refresh()
    DecisionLog(ServingSettings(home=home).decisions).append(
        "v1", "v2", 5, Action.ROLLBACK, ["slow"], {"p99": 3.0}
    )
    trainings = RetrainingLog(home / "retrainings.db")
    trainings.begin(pd.Timestamp(NOW), "drift")
    trainings.end(Outcome.REGISTERED, version, "passed")
    stream = StreamDatabase(home / "stream" / "state.db")
    stream.remember(["s1"])
    stream.close()
    inbox.publish(FeatureSettings(home=home), [{"rating_id": "s2"}])
    return api_keys.create(ServingSettings(home=home).api_keys)


def passes(home: Path, key: str) -> bool:
    request = Request({"type": "http", "headers": [(b"authorization", f"Bearer {key}".encode())]})
    try:
        asyncio.run(api_keys.ApiKeys(ServingSettings(home=home).api_keys)(request))
    except HTTPException:
        return False
    return True


def answers(home: Path, key: str, python: Callable[..., str]) -> dict[str, Any]:
    """What each store of a home says, in plain values."""
    features, models = FeatureSettings(home=home), ModelSettings(home=home)
    folder, store, registry = features.lake, open_store(features), Registry(models)
    online = OnlineFeatures(features)
    users = lake.read(folder, "users")["user_id"].head(50).tolist()
    at = pd.Timestamp("2021-08-01", tz="UTC")
    champion = registry.champion()
    stream = StreamDatabase(home / "stream" / "state.db")
    seen = stream.seen(["s1", "s2"])
    stream.close()
    ledger = Ledger(folder)
    repository = [path for path in ServingSettings(home=home).models.rglob("*") if path.is_file()]
    read_run = "import flows; from metaflow import Flow; print(Flow('FeaturesFlow').latest_run.data.rows)"
    return {
        "lake": lake.snapshot_hash(*(lake.read(folder, table) for table in TABLES)),
        "history": (history.as_of(features), history.missed(features)),
        "quarantine": quarantine.read(folder / "quarantine", "ratings").to_dict(),
        "Feast's registry": (
            sorted(view.name for view in store.list_feature_views()),
            sorted(service.name for service in store.list_feature_services()),
            materialized_until(store),
        ),
        "online store": [online.user(user, "wedding", at) for user in users],
        "registry": (champion.version, champion.lineage, champion.artifact("gate.json").read_text()),
        "model": load(f"models:/rental-recommender@{CHAMPION}").recommend(USER, k=5),
        "Triton's repository": {str(file.relative_to(home)): file.read_bytes() for file in repository},
        "recommendations": RecommendationTable(models.recommendations).of_user("u1").to_dict(),
        "prediction log": read_predictions(folder).to_dict(),
        "feedback": read_feedback(folder).to_dict(),
        "rewards": ledger.totals(),
        "decisions": [asdict(one) for one in DecisionLog(ServingSettings(home=home).decisions).read()],
        "retrainings": RetrainingLog(home / "retrainings.db").read(),
        "batches": QualityHistory(home / "monitoring" / "quality.db").batches(),
        "stream": seen,
        "inbox": [file.read_text() for file in inbox.folder(features).iterdir()],
        "API keys": (passes(home, key), passes(home, "another")),
        "popular rentals": ServingSettings(home=home).popularity.read_text(),
        "Metaflow's runs": python("-c", read_run, RENTALS_HOME=str(home)),
    }


@pytest.fixture(scope="module")
def places(
    small_home: Path,
    write_model: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
    python: Callable[..., str],
) -> dict[str, dict[str, Any]]:
    """The answers of a home, of itself wiped and restored, and of another place to which it was restored."""
    folder = tmp_path_factory.mktemp("stores")
    home, elsewhere = folder / "home", folder / "elsewhere"
    home.mkdir()
    for name in COPIED:
        source = small_home / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, home / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RENTALS_HOME", str(home))
        key = fill(home, write_model(folder / "model.onnx"))
        found = {"before": answers(home, key, python)}
        backup = make(home, folder / "backups")
        shutil.rmtree(home)
        restore(backup, FeatureSettings(home=home), replace=False)
        found["in its place"] = answers(home, key, python)
        shutil.rmtree(home)
        patch.setenv("RENTALS_HOME", str(elsewhere))
        restore(backup, FeatureSettings(home=elsewhere), replace=False)
        found["elsewhere"] = answers(elsewhere, key, python)
        views = open_store(FeatureSettings(home=elsewhere)).list_feature_views()
        assert {Path(view.batch_source.path).parent for view in views} == {elsewhere / "lake"}
    return found


@pytest.mark.parametrize("place", ["in its place", "elsewhere"])
def test_every_store_gives_the_same_answers_after_a_restore(
    places: dict[str, dict[str, Any]], place: str
) -> None:
    before, after = places["before"], places[place]
    assert [store for store in before if before[store] != after[store]] == []
    assert all(before.values()) and before["API keys"] == (True, False)
