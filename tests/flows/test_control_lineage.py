"""From a recommendation back to the version, its run, its features and its data."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows.control.lineage import lineage
from flows.deployment import roll_back
from models.card import ModelCard, approval
from models.gate import GateDecision
from models.registry import CHALLENGER, CHAMPION, ModelVersion, Registry
from monitoring.prediction_log import Prediction, PredictionLog
from serving import runtime
from serving.backend import LocalBackend
from serving.decision_log import Action, DecisionLog
from serving.manifest import render, save
from serving.settings import ServingSettings

LINEAGE = {
    "dataset": "generator",
    "dataset_hash": "a hash",
    "feature_service": "recommender",
    "git_commit": "abc",
    "metaflow_run": "TrainFlow/1",
    "trained_until": "2024-05-01",
}
GATE = GateDecision(True, ("better",), "the baselines", 10, 10, (), (), 0.0, {})
CARD = ModelCard(0, LINEAGE, {}, {}, 10, 10, (), (), GATE, ())


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry of the test file's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RENTALS_HOME", str(tmp_path_factory.mktemp("home")))
        yield Registry()


@pytest.fixture(scope="module")
def champion(
    registry: Registry, write_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> ModelVersion:
    onnx = write_model(tmp_path_factory.mktemp("model") / "tiny.onnx")
    version = registry.register(onnx, None, {**LINEAGE, "onnx_max_abs_diff": 3e-6}, card=CARD)
    registry.promote(version, approval(CHAMPION, "by hand", ("a test",)))
    return registry.get(version)


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


def test_a_recommendation_leads_back_to_its_data(champion: ModelVersion, tmp_path: Path) -> None:
    with PredictionLog(tmp_path) as log:
        log.record(answer(str(champion.version)))

    found = lineage(tmp_path, f"q{champion.version}")

    assert found["answer"]["rental_ids"] == ["r1", "r2"] and found["answer"]["features"] == {"user_age": 31.0}
    model = found["model"]
    assert (model["mlflow_run"], model["aliases"]) == (champion.run_id, (CHAMPION,))
    assert model["lineage"].items() >= LINEAGE.items()
    assert model["metrics"] == {"onnx_max_abs_diff": 3e-6}


def test_a_version_that_the_registry_does_not_know_is_told(champion: ModelVersion, tmp_path: Path) -> None:
    with PredictionLog(tmp_path) as log:
        for version in ("99", "custom"):
            log.record(answer(version))

    assert "the registry has no version 99" in lineage(tmp_path, "q99")["model"]["fault"]
    assert "custom" in lineage(tmp_path, "qcustom")["model"]["fault"]


def test_the_registry_follows_a_persons_rollback(
    champion: ModelVersion, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worse version was promoted over one that has a model card."""
    home = Path(os.environ["RENTALS_HOME"])
    worse = registry.register(champion.path, None, {"metaflow_run": "TrainFlow/worse"})
    registry.set_alias(CHAMPION, worse)
    settings = ServingSettings(home=home)
    one, two = f"v{champion.version}", f"v{worse}"
    save(render({two: 100}, settings), applied := runtime.applied_path(settings))
    DecisionLog(settings.decisions).append(one, two, 50, Action.PROMOTE, ["better"])
    monkeypatch.setattr(runtime, "apply", lambda deployment, _: save(deployment, applied))
    monkeypatch.setattr(LocalBackend, "check", lambda *_: None)

    done, said = roll_back("customers complain")

    assert (done.predictor, done.champion) == (two, one)
    assert said == f"version {champion.version} is the registry's champion"
    assert registry.champion().version == champion.version
    assert registry.card(champion.version).approvals[-1].reasons == ("customers complain",)
    assert registry.alias(CHALLENGER) is None
