import json

import onnx
import pytest

from models.evaluate import Evaluation, evaluate
from models.export import export
from models.load import load
from models.registry import Registry, RegistryError
from models.settings import ModelSettings

LINEAGE = {"dataset_hash": "sha256:ab", "feature_service": "recommender_v1", "onnx_max_abs_diff": 2e-6}


@pytest.fixture(scope="module")
def evaluation(model, market) -> Evaluation:
    return evaluate(model, market.test, market.catalogues, market.train)


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> ModelSettings:
    return ModelSettings(home=tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def path(model, market, tmp_path_factory):
    return export(model, market.latest, tmp_path_factory.mktemp("export") / "model.onnx")


def test_the_life_of_two_versions(settings, path, evaluation, monkeypatch):
    registry = Registry(settings)
    with pytest.raises(RegistryError, match=r"make train.*flows up --version"):
        registry.champion()

    first = registry.register(path, evaluation, LINEAGE)
    registry.promote(first)
    second = registry.register(path, evaluation, {**LINEAGE, "dataset_hash": "sha256:cd"})
    registry.set_alias("challenger", second)
    assert registry.versions() == [first, second]
    assert (registry.champion().version, registry.challenger().version) == (first, second)

    champion = Registry(settings).champion()
    assert champion.lineage == {key: str(value) for key, value in LINEAGE.items()}
    assert champion.metrics["ndcg_at_10"] == pytest.approx(evaluation.ndcg_at_10)
    assert champion.metrics["bias_rmse"] == pytest.approx(evaluation.baselines["bias_rmse"])
    assert champion.metrics["onnx_max_abs_diff"] == pytest.approx(2e-6)
    assert champion.path.is_relative_to(settings.home)
    assert onnx.load(champion.path, load_external_data=False) == onnx.load(path)

    registry.promote(second)
    assert registry.champion().version == second
    with pytest.raises(RegistryError, match="no challenger"):
        registry.challenger()

    monkeypatch.setenv("RENTALS_HOME", str(settings.home))
    assert load("models:/rental-recommender@champion").recommend({"user_id": "u1"}) == load(path).recommend(
        {"user_id": "u1"}
    )
    with pytest.raises(RegistryError, match="no version 99"):
        registry.set_alias("champion", 99)
    with pytest.raises(RegistryError, match="@nobody"):
        load("models:/rental-recommender@nobody")


def test_the_evaluation_is_kept_whole(settings, path, evaluation):
    import mlflow

    registry = Registry(settings)
    version = registry.register(path, evaluation, LINEAGE)
    run_id = (
        mlflow.MlflowClient(settings.tracking_uri)
        .get_model_version("rental-recommender", str(version))
        .run_id
    )
    text = mlflow.artifacts.load_text(f"runs:/{run_id}/evaluation.json")
    assert json.loads(text) == json.loads(json.dumps(evaluation.to_dict()))
