from pathlib import Path

import onnx
import pytest

from feature_repo.names import RECOMMENDER_REQUEST_FEATURES
from serving.settings import ServingSettings
from serving.triton import ModelFileError, model_version, predictor_name, render_config, write_repository
from serving.triton_server import TritonInstallationError, environment, find_installation


def test_the_configuration_is_that_of_the_graph(tiny_model: Path, settings: ServingSettings) -> None:
    configuration = render_config(tiny_model, settings)

    assert 'backend: "onnxruntime"' in configuration
    assert "max_batch_size: 64" in configuration
    assert '{ name: "user_id" data_type: TYPE_STRING dims: [ 1 ] }' in configuration
    assert '{ name: "user_age" data_type: TYPE_FP32 dims: [ 1 ] }' in configuration
    assert '{ name: "rental_id" data_type: TYPE_STRING dims: [ 20 ] }' in configuration
    inputs = len(RECOMMENDER_REQUEST_FEATURES) + 3
    assert configuration.count("data_type") == inputs + 3 + inputs, "once more in the warm-up"


def test_the_repository_holds_model_and_configuration_and_nothing_else(
    tiny_model: Path, settings: ServingSettings
) -> None:
    repository = write_repository(tiny_model, 3, settings)

    files = {str(path.relative_to(settings.models)) for path in settings.models.rglob("*") if path.is_file()}
    assert repository == settings.models / "v3"
    assert files == {"v3/rental-recommender/config.pbtxt", "v3/rental-recommender/1/model.onnx"}


def test_inputs_that_may_be_left_out_are_those_of_a_second_model_without_batches(
    exported_recommender: Path, settings: ServingSettings
) -> None:
    repository = write_repository(exported_recommender, 3, settings)

    plain, filtered = (
        (repository / f"rental-recommender{end}" / "config.pbtxt").read_text() for end in ("", "-filtered")
    )
    assert "optional" not in plain and "max_batch_size: 64" in plain and "dynamic_batching" in plain
    assert "max_batch_size: 0" in filtered and "dynamic_batching" not in filtered
    assert 'name: "rental-recommender-filtered"' in filtered
    assert '{ name: "user_id" data_type: TYPE_STRING dims: [ -1, 1 ] }' in filtered
    for name in ("exclude", "only", "category", "area"):
        assert f'{{ name: "{name}" data_type: TYPE_STRING dims: [ -1, -1 ] optional: true }}' in filtered
    assert '{ name: "k" data_type: TYPE_INT64 dims: [ 1 ] optional: true }' in filtered


def test_a_version_can_be_written_anew(tiny_model: Path, settings: ServingSettings) -> None:
    first = write_repository(tiny_model, 3, settings)
    (first / "left-over").touch()

    second = write_repository(tiny_model, "v3", settings)

    assert not (second / "left-over").exists()
    assert [path.name for path in settings.models.iterdir()] == ["v3"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "does not exist"), (b"", "is empty"), (b"not onnx at all", "not a valid ONNX")],
)
def test_a_bad_file_is_named_and_nothing_is_written(
    tmp_path: Path, settings: ServingSettings, content: bytes | None, message: str
) -> None:
    path = tmp_path / "bad.onnx"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ModelFileError, match=rf"bad\.onnx.*{message}.*export the model again"):
        write_repository(path, 3, settings)

    assert not settings.models.exists()


def test_a_truncated_model_is_refused(tmp_path: Path, tiny_model: Path, settings: ServingSettings) -> None:
    path = tmp_path / "half.onnx"
    path.write_bytes(tiny_model.read_bytes()[: tiny_model.stat().st_size // 2])

    with pytest.raises(ModelFileError, match="not a valid ONNX"):
        write_repository(path, 3, settings)


def test_a_model_without_a_dynamic_batch_is_refused(
    tmp_path: Path, tiny_model: Path, settings: ServingSettings
) -> None:
    model = onnx.load(tiny_model)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, tmp_path / "fixed.onnx")

    with pytest.raises(ModelFileError, match="'user_id' must have the shape"):
        write_repository(tmp_path / "fixed.onnx", 3, settings)


def test_a_predictor_is_named_by_its_version() -> None:
    assert predictor_name(3) == predictor_name("v3") == "v3"
    assert model_version("v3") == "3"


def test_an_absent_triton_environment_is_told_with_the_remedy(
    settings: ServingSettings, tmp_path: Path
) -> None:
    absent = settings.model_copy(update={"triton_python": tmp_path / "python"})

    with pytest.raises(TritonInstallationError, match="triton-requirements"):
        find_installation(absent)


def test_a_predictor_does_not_depend_on_the_shell_that_starts_it(
    settings: ServingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = find_installation(settings)
    before = environment(installation)
    monkeypatch.setenv("PATH", "/another/shell")

    assert environment(installation) == before, "it would be restarted, and requests would fail"
