"""From a recommendation back to the version, its run, its features and its data."""

import os
from datetime import UTC, datetime
from pathlib import Path

from flows.control.lineage import lineage
from flows.deployment import roll_back
from models.registry import CHALLENGER, CHAMPION
from monitoring.prediction_log import Prediction, PredictionLog
from serving import runtime
from serving.backend import LocalBackend
from serving.decision_log import Action, DecisionLog
from serving.manifest import render, save
from serving.settings import ServingSettings


def answer(version: str) -> Prediction:
    return Prediction(
        request_id=f"q{version}",
        user_id="u1",
        model_name="rental-recommender",
        model_version=version,
        predictor=f"v{version}",
        ok=True,
        features={"user_age": 31.0},
        rental_ids=["r1", "r2"],
        scores=[2.0, 1.0],
        predicted_ratings=[4.5, 4.0],
        latency_ms=10.0,
        timestamp=datetime.now(UTC),
    )


def test_a_recommendation_leads_back_to_its_data(champion, tmp_path: Path) -> None:
    with PredictionLog(tmp_path) as log:
        log.record(answer(str(champion.version)))

    found = lineage(tmp_path, f"q{champion.version}")

    assert found["answer"]["rental_ids"] == ["r1", "r2"] and found["answer"]["features"] == {"user_age": 31.0}
    model = found["model"]
    assert (model["mlflow_run"], model["aliases"]) == (champion.run_id, (CHAMPION,))
    made_from = model["lineage"]
    assert (made_from["metaflow_run"], made_from["dataset_hash"]) == ("TrainFlow/first", "a hash")
    assert {"git_commit", "feature_service", "dataset", "trained_until", "reason"} <= made_from.keys()
    assert model["metrics"]["rmse"] > 0


def test_a_version_that_the_registry_does_not_know_is_told(champion, tmp_path: Path) -> None:
    with PredictionLog(tmp_path) as log:
        for version in ("99", "custom"):
            log.record(answer(version))

    assert "the registry has no version 99" in lineage(tmp_path, "q99")["model"]["fault"]
    assert "custom" in lineage(tmp_path, "qcustom")["model"]["fault"]


def test_the_registry_follows_a_persons_rollback(champion, registry, tmp_path: Path, monkeypatch) -> None:
    """A worse version 2 was promoted over version 1, which has a model card."""
    home = Path(os.environ["RENTALS_HOME"])
    worse = registry.register(champion.path, None, {"metaflow_run": "TrainFlow/worse"})
    registry.set_alias(CHAMPION, worse)
    settings = ServingSettings(home=home)
    one, two = f"v{champion.version}", f"v{worse}"
    save(render({two: 100}, settings), applied := runtime.applied_path(settings))
    DecisionLog(settings.run / "decisions.db").append(one, two, 50, Action.PROMOTE, ["better"])
    monkeypatch.setattr(runtime, "apply", lambda deployment, _: save(deployment, applied))
    monkeypatch.setattr(LocalBackend, "check", lambda *_: None)

    done, said = roll_back("customers complain")

    assert (done.predictor, done.champion) == (two, one)
    assert said == f"version {champion.version} is the registry's champion"
    assert registry.champion().version == champion.version
    assert registry.card(champion.version).approvals[-1].reasons == ("customers complain",)
    assert registry.alias(CHALLENGER) is None
