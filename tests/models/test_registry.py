import json

import onnx
import pytest

from models.evaluate import Evaluation, evaluate
from models.export import export
from models.load import load
from models.registry import Registry, RegistryError, download
from models.settings import ModelSettings

LINEAGE = {"dataset_hash": "sha256:ab", "feature_service": "recommender_v1", "onnx_max_abs_diff": 2e-6}
NOWHERE = "http://127.0.0.1:9"
"""The discard port: nothing answers there."""


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
    assert registry.champion().version == first < second
    assert registry.get(second).aliases == ("challenger",)

    champion = Registry(settings).champion()
    assert champion.lineage == {key: str(value) for key, value in LINEAGE.items()}
    assert champion.metrics["ndcg_at_10"] == pytest.approx(evaluation.ndcg_at_10)
    assert champion.metrics["bias_rmse"] == pytest.approx(evaluation.baselines["bias_rmse"])
    assert champion.metrics["onnx_max_abs_diff"] == pytest.approx(2e-6)
    assert champion.path.is_relative_to(settings.home)
    assert onnx.load(champion.path, load_external_data=False) == onnx.load(path)

    registry.promote(second)
    assert registry.champion().version == second
    assert registry.get(second).aliases == ("champion",)

    monkeypatch.setenv("RENTALS_HOME", str(settings.home))
    assert load("models:/rental-recommender@champion").recommend({"user_id": "u1"}) == load(path).recommend(
        {"user_id": "u1"}
    )
    with pytest.raises(RegistryError, match="no version 99"):
        registry.set_alias("champion", 99)
    with pytest.raises(RegistryError, match="@nobody"):
        load("models:/rental-recommender@nobody")


def run_of(settings, version):
    import mlflow

    client = mlflow.MlflowClient(settings.tracking_uri)
    return client.get_run(client.get_model_version("rental-recommender", str(version)).run_id)


def test_the_evaluation_and_the_hyperparameters_are_kept_whole(settings, path, evaluation, hyperparameters):
    import mlflow

    version = Registry(settings).register(path, evaluation, LINEAGE, hyperparameters.model_dump())
    run = run_of(settings, version)
    text = mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/evaluation.json")
    assert json.loads(text) == json.loads(json.dumps(evaluation.to_dict()))
    expected = {**LINEAGE, **hyperparameters.model_dump()}
    assert run.data.params == {name: str(value) for name, value in expected.items()}


def test_a_run_of_the_flow_registers_one_version(settings, path):
    registry = Registry(settings)
    other = registry.register(path, None, {**LINEAGE, "metaflow_run": "TrainFlow/12"})
    first = registry.register(path, None, {**LINEAGE, "metaflow_run": "TrainFlow/1"})
    assert first != other
    assert registry.register(path, None, {**LINEAGE, "metaflow_run": "TrainFlow/1"}) == first


def test_files_beside_the_model_come_with_it(settings, exported, monkeypatch):
    registry = Registry(settings)
    version = registry.register(exported / "model.onnx", None, LINEAGE, beside=[exported / "pairs.onnx"])
    monkeypatch.setenv("RENTALS_HOME", str(settings.home))
    fetched = load(f"models:/rental-recommender/{version}")
    assert fetched.predict("u1", ["r1"]) == load(exported).predict("u1", ["r1"])
    assert fetched.path.with_name("pairs.onnx").is_file()


def test_a_model_is_fetched_only_when_its_file_is_asked_for(settings, path, monkeypatch):
    import models.registry as module

    registry = Registry(settings)
    version = registry.register(path, None, LINEAGE)
    monkeypatch.setattr(module, "download", lambda *_: pytest.fail("fetched"))
    registry.promote(version)
    found = registry.get(version)
    monkeypatch.undo()
    assert found.path.is_file()
    assert found.path is found.path


def test_a_server_that_is_down_is_not_taken_for_an_empty_registry(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    settings = ModelSettings(home=tmp_path, mlflow_tracking_uri=NOWHERE)
    registry = Registry(settings)
    calls = (registry.champion, lambda: registry.get(1), lambda: download("models:/m@champion", settings))
    for call in calls:
        with pytest.raises(RegistryError, match=rf"{NOWHERE} does not answer.*RENTALS_MLFLOW_TRACKING_URI"):
            call()
