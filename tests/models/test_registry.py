import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from models.card import FILES, approval
from models.export import export
from models.load import load
from models.registry import Registry, download
from models.registry_errors import RegistryError
from models.settings import ModelSettings

LINEAGE = {"dataset_hash": "sha256:ab", "feature_service": "recommender_v2", "onnx_max_abs_diff": 2e-6}
NOWHERE = "http://127.0.0.1:9"
"""The discard port: nothing answers there."""

BY_HAND = approval("champion", "by hand", ("a test",))


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> ModelSettings:
    return ModelSettings(home=tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def on_servers(tmp_path_factory, new_database, s3, bucket) -> Iterator[ModelSettings]:
    """PostgreSQL, and S3 for what runs keep."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (s3 | {"AWS_ENDPOINT_URL_S3": s3["METAFLOW_S3_ENDPOINT_URL"]}).items():
            patch.setenv(name, value)
        places = {"mlflow_tracking_uri": new_database(), "mlflow_artifacts": f"s3://{bucket.name}/mlflow"}
        yield ModelSettings(home=tmp_path_factory.mktemp("home"), **places)


@pytest.fixture(params=["settings", "on_servers"])
def either(request, monkeypatch) -> ModelSettings:
    """Files of the home, or servers; also for code that reads the environment."""
    found = request.getfixturevalue(request.param)
    monkeypatch.setenv("RENTALS_HOME", str(found.home))
    monkeypatch.setenv("RENTALS_MLFLOW_TRACKING_URI", found.mlflow_tracking_uri)
    return found


@pytest.fixture(scope="module")
def path(model, market, tmp_path_factory):
    return export(model, market.latest, tmp_path_factory.mktemp("export") / "model.onnx")


def test_the_life_of_two_versions(either, path, evaluation, card):
    settings = either
    registry = Registry(settings)
    with pytest.raises(RegistryError, match=r"make train.*flows up --version"):
        registry.champion()

    first = registry.register(path, evaluation, LINEAGE, card=card)
    registry.promote(first, BY_HAND)
    second = registry.register(path, evaluation, {**LINEAGE, "dataset_hash": "sha256:cd"}, card=card)
    registry.set_alias("challenger", second)
    assert registry.champion().version == first < second
    assert registry.get(second).aliases == ("challenger",)

    champion = Registry(settings).champion()
    assert champion.lineage == {key: str(value) for key, value in LINEAGE.items()}
    assert champion.metrics["ndcg_at_10"] == pytest.approx(evaluation.ndcg_at_10)
    assert champion.metrics["bias_rmse"] == pytest.approx(evaluation.baselines["bias_rmse"])
    assert champion.metrics["onnx_max_abs_diff"] == pytest.approx(2e-6)
    if not settings.mlflow_artifacts:
        assert champion.path.is_relative_to(settings.home)
    assert onnx.load(champion.path, load_external_data=False) == onnx.load(path)

    registry.promote(second, BY_HAND)
    assert registry.champion().version == second
    assert registry.get(second).aliases == ("champion",)

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


def test_files_beside_the_model_come_with_it(either, exported):
    registry = Registry(either)
    version = registry.register(exported / "model.onnx", None, LINEAGE, beside=[exported / "pairs.onnx"])
    fetched = load(f"models:/rental-recommender/{version}")
    assert fetched.predict("u1", ["r1"]) == load(exported).predict("u1", ["r1"])
    assert fetched.path.with_name("pairs.onnx").is_file()


def test_a_model_is_fetched_only_when_its_file_is_asked_for(settings, path, card, monkeypatch):
    import models.registry as module

    registry = Registry(settings)
    version = registry.register(path, None, LINEAGE, card=card)
    monkeypatch.setattr(module, "download", lambda *_: pytest.fail("fetched"))
    registry.promote(version, BY_HAND)
    found = registry.get(version)
    monkeypatch.undo()
    assert found.path.is_file()
    assert found.path is found.path


def test_a_server_that_is_down_is_not_taken_for_an_empty_registry(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    settings = ModelSettings(home=tmp_path, mlflow_tracking_uri=NOWHERE)
    registry = Registry(settings)
    calls = (
        registry.champion,
        lambda: registry.alias("champion"),
        lambda: registry.get(1),
        lambda: download("models:/m@champion", settings),
    )
    for call in calls:
        with pytest.raises(RegistryError, match=rf"{NOWHERE} does not answer.*RENTALS_MLFLOW_TRACKING_URI"):
            call()


def test_a_version_without_a_card_cannot_be_promoted(settings, path):
    registry = Registry(settings)
    before = registry.champion().version
    version = registry.register(path, None, LINEAGE)
    for refused in (lambda: registry.promote(version, BY_HAND), lambda: registry.card(version)):
        with pytest.raises(RegistryError, match=rf"version {version} has no complete model card.*make train"):
            refused()
    assert registry.champion().version == before
    assert registry.get(version).aliases == ()


def test_half_a_card_is_none(settings, path, card):
    registry = Registry(settings)
    version = registry.register(path, None, LINEAGE, card=card)
    folder = Path(run_of(settings, version).info.artifact_uri.removeprefix("file://")) / "model_card"
    assert sorted(file.name for file in folder.iterdir()) == sorted(FILES)
    for name in FILES:
        content = (folder / name).read_bytes()
        (folder / name).unlink()
        with pytest.raises(RegistryError, match=rf"\({name} missing\)"):
            registry.promote(version, BY_HAND)
        (folder / name).write_bytes(content)
    registry.promote(version, BY_HAND)


def test_a_card_gets_the_number_of_its_version_and_each_approval(settings, path, card):
    registry = Registry(settings)
    version = registry.register(path, None, LINEAGE, card=card)
    assert registry.card(version) == replace(card, version=version)
    registry.promote(version, approval("champion", "the rollout", ("enough requests without a regression",)))
    kept = registry.card(version)
    assert [one.by for one in kept.approvals] == ["the gate of the training flow", "the rollout"]
    for name in ("card.html", "card.md"):
        page = registry.get(version).artifact(f"model_card/{name}").read_text()
        assert f"version {version}" in page and "enough requests without a regression" in page


def test_a_flow_that_was_killed_before_its_card_writes_it_when_resumed(settings, path, card):
    registry = Registry(settings)
    lineage = {**LINEAGE, "metaflow_run": "TrainFlow/killed"}
    version = registry.register(path, None, lineage)
    assert registry.register(path, None, lineage, card=card) == version
    assert registry.card(version).version == version


def test_a_refused_model_is_a_run_with_its_figures_and_no_version(settings, path, evaluation):
    import mlflow

    registry, client = Registry(settings), mlflow.MlflowClient(settings.tracking_uri)
    newest = registry.register(path, None, LINEAGE)
    lineage = {**LINEAGE, "metaflow_run": "TrainFlow/refused"}
    for _ in range(2):
        registry.refuse(evaluation, lineage, {"seed": 7}, {"gate.json": b'{"passed": false}'})
    experiment = client.get_experiment_by_name("rental-recommender").experiment_id
    (run,) = client.search_runs([experiment], "params.metaflow_run = 'TrainFlow/refused'")
    assert run.data.metrics["rmse"] == pytest.approx(evaluation.rmse)
    assert mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/gate.json") == '{"passed": false}'
    with pytest.raises(RegistryError, match="no version"):
        registry.get(newest + 1)


def test_what_else_is_kept_with_a_version_is_found_again(either, path):
    found = Registry(either).get(Registry(either).register(path, None, LINEAGE, files={"gate.json": b"{}"}))
    assert found.artifact("gate.json").read_bytes() == b"{}"
    with pytest.raises(RegistryError, match=rf"version {found.version} has no checkpoint.pt.*make train"):
        found.artifact("checkpoint.pt")


def test_an_alias_that_points_at_nothing_is_none(settings, tmp_path):
    assert Registry(settings).alias("nobody") is None
    assert Registry(ModelSettings(home=tmp_path)).alias("champion") is None


def test_nothing_of_a_run_on_servers_is_written_here(on_servers, path, bucket):
    Registry(on_servers).register(path, None, LINEAGE, files={"gate.json": b"{}"})
    assert [file for file in on_servers.home.rglob("*") if file.is_file()] == []
    there = {one.key.rpartition("/")[2] for one in bucket.objects.filter(Prefix="mlflow/")}
    assert {"model.onnx", "gate.json"} <= there


def test_a_bucket_that_is_not_there_is_named_with_the_remedy(on_servers, new_database, path):
    nowhere = {"mlflow_tracking_uri": new_database(), "mlflow_artifacts": "s3://nobodys/mlflow"}
    registry = Registry(on_servers.model_copy(update=nowhere))
    with pytest.raises(RegistryError, match=r"s3://nobodys/mlflow.*RENTALS_MLFLOW_ARTIFACTS"):
        registry.register(path, None, LINEAGE)
    assert registry.alias("champion") is None
