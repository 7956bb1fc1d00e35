"""What the command line says when it cannot do what it is asked; the rest is in test_local_runtime.py."""

from pathlib import Path

import pytest

from serving.__main__ import main
from serving.manifest import render, save
from serving.settings import ServingSettings
from serving.triton import write_repository


@pytest.fixture
def manifest(settings: ServingSettings, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("RENTALS_HOME", str(settings.home))
    write_repository(tiny_model, 3, settings)
    path = settings.home / "deployment.yaml"
    save(render({"v3": 100}, settings), path)
    return str(path)


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 1
    return capsys.readouterr().err


@pytest.mark.parametrize("command", ["status", "down"])
def test_a_setting_that_cannot_be_is_told_by_its_variable(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RENTALS_API_PORT", "http")

    line = told(capsys, command)
    assert line.startswith("RENTALS_API_PORT: input should be a valid integer") and line.count("\n") == 1


def test_a_home_that_is_no_folder_is_told_with_the_remedy(
    manifest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("RENTALS_HOME", str(file))

    line = told(capsys, "down")
    assert "set RENTALS_HOME to a folder" in line and line.count("\n") == 1


def test_a_damaged_state_is_told_and_down_mends_it(
    manifest: str, settings: ServingSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.run.mkdir(parents=True)
    (settings.run / "state.json").write_text("{")

    for arguments in (["status"], ["up", manifest]):
        assert "python -m serving down" in told(capsys, *arguments)
    assert main(["down"]) == 0
    assert main(["down"]) == 0
    assert main(["status"]) == 0


@pytest.mark.parametrize("python", ["/bin/false", "/etc/passwd", "/nowhere"])
def test_a_triton_environment_that_does_not_run_is_told(
    python: str, manifest: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RENTALS_TRITON_PYTHON", python)

    assert "serving/triton-requirements.txt" in told(capsys, "up", manifest)


def test_a_manifest_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert "correct the path" in told(capsys, "up", "/nowhere/deployment.yaml")


def test_every_wrong_setting_of_every_kind_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RENTALS_API_PORT", "many")
    monkeypatch.setenv("RENTALS_CANARY_LATENCY_RATIO", "0.5")
    monkeypatch.setenv("RENTALS_KUBERNETES_CALL_SECONDS", "-1")
    assert main(["status"]) == 1

    said = capsys.readouterr().err
    assert "RENTALS_API_PORT: input should be a valid integer" in said
    assert "RENTALS_CANARY_LATENCY_RATIO: input should be greater than 1, got '0.5'" in said
    assert "RENTALS_KUBERNETES_CALL_SECONDS: input should be greater than 0, got '-1'" in said
    assert "Traceback" not in said


def test_a_setting_that_is_to_be_json_and_is_not_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RENTALS_TRITON_NODE_SELECTOR", "accelerator=nvidia")
    assert main(["status"]) == 1
    assert "RENTALS_TRITON_NODE_SELECTOR: is not JSON" in capsys.readouterr().err
