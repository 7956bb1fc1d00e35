"""The settings files of a laptop and of the cluster say what the rooms take, and nothing else."""

from pathlib import Path

import pytest
from dotenv import dotenv_values

from deploy.rendering import KUBERNETES
from feature_repo.settings import CHECKOUT
from flows import settings_file

LAPTOP = CHECKOUT / "deploy" / "laptop.env"


@pytest.mark.parametrize("path", [LAPTOP, *KUBERNETES.glob("overlays/*/settings.env")], ids=str)
def test_every_line_is_a_setting_with_a_value_that_it_takes(path: Path) -> None:
    assert list(settings_file.faults(path)) == []


def test_so_is_every_line_that_shows_another_value(tmp_path: Path) -> None:
    shown = [line[1:] for line in LAPTOP.read_text().splitlines() if line.startswith("#RENTALS_")]
    assert len(shown) > 5
    for line in shown:
        # One by one: several of them may be of one setting.
        (tmp_path / "laptop.env").write_text(line)
        assert list(settings_file.faults(tmp_path / "laptop.env")) == []


def test_as_it_comes_the_laptops_file_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.env").touch()
    for room in settings_file.ROOMS:
        assert (
            settings_file.read(LAPTOP, room).model_dump()
            == settings_file.read(tmp_path / "empty.env", room).model_dump()
        )
    assert len(dotenv_values(LAPTOP)) > 20
