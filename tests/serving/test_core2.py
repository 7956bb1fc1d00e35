"""The resources of Seldon Core 2 say what the SeldonDeployment says."""

from pathlib import Path

import pytest
import yaml

from serving import core2
from serving.__main__ import main
from serving.manifest import DNS_LABEL, render, save
from serving.settings import ServingSettings


def test_weights_become_candidates_and_the_shadow_the_mirror(settings: ServingSettings) -> None:
    cluster = settings.model_copy(update={"model_uri_base": "s3://models", "triton_gpus": 1, "replicas": 2})
    found = core2.resources(render({"v3": 90, "v4": 10}, cluster, shadow="v5"), cluster)

    named = {(one["kind"], one["metadata"]["name"]): one["spec"] for one in found}
    assert len(named) == len(found) == 1 + 3 * (3 + 1)
    model = named["Model", "rental-recommender-v4"]
    assert model["storageUri"] == "s3://models/v4/rental-recommender"
    assert model["replicas"] == 2
    assert named["Experiment", "rental-recommender"] == {
        "candidates": [
            {"name": "rental-recommender-v3", "weight": 90},
            {"name": "rental-recommender-v4", "weight": 10},
        ],
        "mirror": {"name": "rental-recommender-v5", "percent": 100},
    }
    # The graph with filters is a model of its own, with the same split.
    filtered = named["Experiment", "rental-recommender-filtered"]["candidates"]
    assert [one["weight"] for one in filtered] == [90, 10]
    (container,) = named["Server", model["server"]]["podSpec"]["containers"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 1}


def test_every_candidate_and_mirror_is_a_model_and_every_name_a_label(settings: ServingSettings) -> None:
    found = core2.resources(render({"v3": 60, "v4": 40}, settings, shadow="v5"), settings)

    models = {one["metadata"]["name"] for one in found if one["kind"] == "Model"}
    for one in found:
        assert one["apiVersion"] == "mlops.seldon.io/v1alpha1"
        assert one["metadata"]["namespace"] == "rentals"
        assert DNS_LABEL.fullmatch(one["metadata"]["name"])
        if one["kind"] == "Experiment":
            assert {part["name"] for part in [*one["spec"]["candidates"], one["spec"]["mirror"]]} <= models


def test_the_command_prints_them_as_yaml(
    settings: ServingSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "manifest.yaml"
    save(render({"v3": 100}, settings), manifest)

    assert main(["core2", str(manifest)]) == 0
    kinds = [one["kind"] for one in yaml.safe_load_all(capsys.readouterr().out)]
    assert kinds == ["Server", *["Model", "Experiment"] * 3]
