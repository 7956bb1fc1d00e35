"""Model repositories on S3, by a real server of its protocol."""

from pathlib import Path
from typing import Any

import pytest

from serving.manifest import render
from serving.model_storage import ModelStorageError, upload
from serving.settings import ServingSettings
from serving.triton import write_repository


@pytest.fixture
def account(s3: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (s3 | {"AWS_ENDPOINT_URL_S3": s3["METAFLOW_S3_ENDPOINT_URL"]}).items():
        monkeypatch.setenv(name, value)


def test_a_predictor_finds_its_model_where_the_manifest_says(
    settings: ServingSettings, tiny_model: Path, bucket: Any, account: None
) -> None:
    there = settings.model_copy(update={"model_uri_base": f"s3://{bucket.name}/a/models"})
    repository = write_repository(tiny_model, 4, there)
    for _ in range(2):
        upload(repository, there)

    (predictor,) = render({"v4": 100}, there).spec.predictors
    prefix = predictor.graph.modelUri.removeprefix(f"s3://{bucket.name}/") + "/"
    found = {one.key.removeprefix(prefix): one for one in bucket.objects.filter(Prefix=prefix)}
    here = {file.relative_to(repository).as_posix(): file for file in repository.rglob("*") if file.is_file()}
    assert found.keys() == here.keys() and f"{there.model_name}/1/model.onnx" in here
    for name, file in here.items():
        assert found[name].get()["Body"].read() == file.read_bytes()


def test_a_bucket_that_is_not_there_is_named_with_the_remedy(
    settings: ServingSettings, tiny_model: Path, account: None
) -> None:
    nowhere = settings.model_copy(update={"model_uri_base": "s3://nobodys/models"})
    with pytest.raises(ModelStorageError, match=r"v4 .* s3://nobodys/models .*RENTALS_MODEL_URI_BASE"):
        upload(write_repository(tiny_model, 4, nowhere), nowhere)


def test_a_folder_is_where_it_was_written(settings: ServingSettings, tmp_path: Path) -> None:
    upload(tmp_path, settings)
    upload(tmp_path, settings.model_copy(update={"model_uri_base": "pvc://rentals/models"}))
